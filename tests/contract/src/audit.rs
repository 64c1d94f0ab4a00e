use std::sync::Arc;

use doorstep_domain::ports::{Accounts, Audit, AuditReport, Close, Positions};
use doorstep_domain::{EntryKind, LedgerEntry, RewardRules, UserId};

use super::positions::{gained, opening, position};
use super::sample::{entry, registered};

/// [`Audit`], in a store without users; `accounts` and `positions` are the same store. Faults that no port can
/// cause, such as a wrong balance, are tested in the adapters.
pub async fn audit(
    accounts: Arc<dyn Accounts>,
    positions: Arc<dyn Positions>,
    store: Arc<dyn Audit>,
) {
    assert_eq!(report(&*store).await, AuditReport::default(), "this suite wants an empty store");

    let [ada, ben] = [registered(&*accounts).await.id, registered(&*accounts).await.id];
    let gift = entry(&ada, 100_000, &ada.to_string());
    accounts.grant(&gift).await.expect("grants");
    let found = report(&*store).await;
    assert_eq!((found.users, found.entries), (2, 1));
    assert_finding(&found, &ben.to_string());

    let gift = entry(&ben, 100_000, &ben.to_string());
    accounts.grant(&gift).await.expect("grants");
    let fine = AuditReport { users: 2, entries: 2, ..AuditReport::default() };
    assert_eq!(report(&*store).await, fine);
    assert_eq!(report(&*store).await, fine, "an audit changes nothing");

    trades(&*accounts, &*positions, &*store, &ada).await;

    // A second gift with another reference: one finding for the gift, one for the reference.
    let before = report(&*store).await.findings.len();
    let gift = entry(&ben, 1, "again");
    accounts.grant(&gift).await.expect("grants");
    let found = report(&*store).await;
    assert_eq!(found.findings.len(), before + 2, "{found:?}");
    let about_ben = found.findings.iter().filter(|finding| finding.contains(&ben.to_string()));
    assert_eq!(about_ben.count(), 2, "{found:?}");

    for _ in 0..AuditReport::MAX_FINDINGS {
        registered(&*accounts).await;
    }
    let found = report(&*store).await;
    assert_eq!(found.findings.len(), AuditReport::MAX_FINDINGS);
}

/// Open and closed positions and their rewards: the audit is clean only once the rewards are on the ledger.
async fn trades(
    accounts: &dyn Accounts,
    positions: &dyn Positions,
    store: &dyn Audit,
    user: &UserId,
) {
    positions.open(&opening(&position(user))).await.expect("opens");
    let fine = report(store).await;
    assert_eq!((fine.positions, fine.findings.len()), (1, 0), "{fine:?}");
    for number in 1..=10 {
        let open = position(user);
        positions.open(&opening(&open)).await.expect("opens");
        let closed = gained(&open);
        let entry_id = opening(&open).entry;
        let close = positions.close(&closed, entry_id).await.expect("closes");
        assert!(matches!(close, Close::Closed(n) if n.get() == number));
        let earned = match number {
            1 => EntryKind::FirstClose,
            10 => EntryKind::CloseMilestone,
            _ => continue,
        };
        assert_finding(&report(store).await, &closed.id.to_string());
        let reward = LedgerEntry { kind: earned, ..entry(user, 500, &closed.id.to_string()) };
        accounts.grant(&reward).await.expect("grants");
        assert_eq!(report(store).await.findings, [""; 0]);
    }
    // Money for positions that do not exist and rewards that nothing earned: one finding each. Their sum, which
    // has no source, is another finding.
    for kind in [EntryKind::FirstClose, EntryKind::CloseMilestone] {
        let forged = LedgerEntry { kind, ..entry(user, 1, &position(user).id.to_string()) };
        let before = report(store).await.findings.len();
        accounts.grant(&forged).await.expect("grants");
        assert_eq!(report(store).await.findings.len(), before + 1);
    }
    let before = report(store).await.findings.len();
    let (kind, reference) = (EntryKind::PositionClosed, position(user).id.to_string());
    accounts.grant(&LedgerEntry { kind, ..entry(user, 1, &reference) }).await.expect("grants");
    assert_eq!(report(store).await.findings.len(), before + 2);
}

async fn report(store: &dyn Audit) -> AuditReport {
    store.audit(&RewardRules::default()).await.expect("audits")
}

fn assert_finding(report: &AuditReport, about: &str) {
    assert_eq!(report.findings.len(), 1, "{report:?}");
    assert!(report.findings[0].contains(about), "{report:?}");
}
