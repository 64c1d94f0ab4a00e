use std::sync::Arc;

use doorstep_domain::ports::{Accounts, Audit, AuditReport};

use super::sample::{entry, registered};

/// [`Audit`], in a store where nobody is registered; `accounts` is the same store. What a port cannot
/// bring about (a balance that is wrong) is for the adapter's own tests.
pub async fn audit(accounts: Arc<dyn Accounts>, store: Arc<dyn Audit>) {
    assert_eq!(report(&*store).await, AuditReport::default(), "this suite wants an empty store");

    let [ada, ben] = [registered(&*accounts).await.id, registered(&*accounts).await.id];
    let gift = entry(&ada, 100_000, &ada.to_string());
    accounts.grant(&gift).await.expect("grants");
    let found = report(&*store).await;
    assert_eq!((found.users, found.entries), (2, 1));
    assert_finding(&found, &ben.to_string());

    let gift = entry(&ben, 100_000, &ben.to_string());
    accounts.grant(&gift).await.expect("grants");
    let fine = AuditReport { users: 2, entries: 2, findings: Vec::new() };
    assert_eq!(report(&*store).await, fine);
    assert_eq!(report(&*store).await, fine, "an audit changes nothing");

    // A second gift for another reason is one too many, and its reason is none.
    let gift = entry(&ada, 1, "again");
    accounts.grant(&gift).await.expect("grants");
    let found = report(&*store).await;
    assert_eq!(found.findings.len(), 2, "{found:?}");
    assert!(found.findings.iter().all(|finding| finding.contains(&ada.to_string())), "{found:?}");

    for _ in 0..AuditReport::MAX_FINDINGS {
        registered(&*accounts).await;
    }
    let found = report(&*store).await;
    assert_eq!(found.findings.len(), AuditReport::MAX_FINDINGS);
}

async fn report(store: &dyn Audit) -> AuditReport {
    store.audit().await.expect("audits")
}

fn assert_finding(report: &AuditReport, about: &str) {
    assert_eq!(report.findings.len(), 1, "{report:?}");
    assert!(report.findings[0].contains(about), "{report:?}");
}
