//! The suite of [`Audit`].

use std::num::NonZeroU64;
use std::sync::Arc;

use doorstep_domain::ports::{Accounts, Audit, AuditReport, Close, Positions};
use doorstep_domain::{EntryKind, LedgerEntry, RewardRules, UserId};

use crate::Clause;
use crate::clause::clauses;
use crate::positions::{gained, opening, position};
use crate::sample::{entry, registered};

clauses! {
    /// The promises of [`Audit`] that the suite checks.
    COUNTS = "audit counts": "an audit counts the users, entries and positions that it checks";
    CLEAN = "audit clean": "where all is right there are no findings, and an audit changes nothing";
    OWED = "audit owed": "a reward that was earned and not given is one finding, which names the user or the position";
    DOUBLE = "audit double": "a second gift of a user is a finding, and its reference another";
    FORGED = "audit forged": "a reward that nothing earned is one finding";
    UNFOUNDED = "audit unfounded": "money from a position that does not exist is a finding, and the sum of all money another";
    BOUNDED = "audit bounded": "an audit lists at most 1,000 findings";
}

/// [`Audit`], in a store without users; `accounts` and `positions` are the same store. Checks every promise of
/// [`CLAUSES`]. Faults that no port can cause, such as a wrong balance, are tested in the adapters.
pub async fn audit(
    accounts: Arc<dyn Accounts>,
    positions: Arc<dyn Positions>,
    store: Arc<dyn Audit>,
) {
    let came = report(&*store, CLEAN).await;
    assert!(came == AuditReport::default(), "this suite wants an empty store");

    let [ada, ben] = [registered(&*accounts).await.id, registered(&*accounts).await.id];
    grant(&*accounts, &entry(&ada, 100_000, &ada.to_string()), OWED).await;
    counts(&*store, (2, 1, 0)).await;
    finds_one(&*store, &ben.to_string()).await;

    grant(&*accounts, &entry(&ben, 100_000, &ben.to_string()), CLEAN).await;
    for _ in 0..2 {
        counts(&*store, (2, 2, 0)).await;
        finds(&*store, 0, "with two users who have their gifts", CLEAN).await;
    }
    trades(&*accounts, &*positions, &*store, &ada).await;

    // A second gift with another reference: one finding for the gift, one for the reference.
    let before = report(&*store, DOUBLE).await.findings.len();
    grant(&*accounts, &entry(&ben, 1, "again"), DOUBLE).await;
    finds(&*store, before + 2, "after a second gift", DOUBLE).await;
    let found = report(&*store, DOUBLE).await.findings;
    let about_ben = found.iter().filter(|finding| finding.contains(&ben.to_string())).count();
    DOUBLE.same("how many findings name the user of a second gift", &about_ben, &2);

    for _ in 0..AuditReport::MAX_FINDINGS {
        registered(&*accounts).await;
    }
    finds(&*store, AuditReport::MAX_FINDINGS, "with 1,000 users who lack a gift", BOUNDED).await;
}

/// Open and closed positions and their rewards: the audit is clean only once the rewards are on the ledger.
async fn trades(
    accounts: &dyn Accounts,
    positions: &dyn Positions,
    store: &dyn Audit,
    user: &UserId,
) {
    CLEAN.done("open", positions.open(&opening(&position(user))).await);
    counts(store, (2, 3, 1)).await;
    finds(store, 0, "with an open position", CLEAN).await;
    for number in 1..=10 {
        let open = position(user);
        CLEAN.done("open", positions.open(&opening(&open)).await);
        let closed = gained(&open);
        let entry_id = opening(&open).entry;
        let close = CLEAN.done("close", positions.close(&closed, entry_id).await);
        let expected = NonZeroU64::new(number).map(Close::Closed);
        CLEAN.same("a close", &Some(close), &expected);
        let earned = match number {
            1 => EntryKind::FirstClose,
            10 => EntryKind::CloseMilestone,
            _ => continue,
        };
        finds_one(store, &closed.id.to_string()).await;
        let reward = LedgerEntry { kind: earned, ..entry(user, 500, &closed.id.to_string()) };
        grant(accounts, &reward, CLEAN).await;
        finds(store, 0, "with a closed position and its reward", CLEAN).await;
    }
    // Money for positions that do not exist and rewards that nothing earned: one finding each. Their sum, which
    // has no source, is another finding.
    for kind in [EntryKind::FirstClose, EntryKind::CloseMilestone] {
        let forged = LedgerEntry { kind, ..entry(user, 1, &position(user).id.to_string()) };
        let before = report(store, FORGED).await.findings.len();
        grant(accounts, &forged, FORGED).await;
        finds(store, before + 1, "after a reward that nothing earned", FORGED).await;
    }
    let before = report(store, UNFOUNDED).await.findings.len();
    let (kind, reference) = (EntryKind::PositionClosed, position(user).id.to_string());
    grant(accounts, &LedgerEntry { kind, ..entry(user, 1, &reference) }, UNFOUNDED).await;
    finds(store, before + 2, "after a settlement of no position", UNFOUNDED).await;
}

async fn grant(accounts: &dyn Accounts, entry: &LedgerEntry, clause: Clause) {
    clause.done("grant", accounts.grant(entry).await);
}

async fn report(store: &dyn Audit, clause: Clause) -> AuditReport {
    clause.done("audit", store.audit(&RewardRules::default()).await)
}

async fn counts(store: &dyn Audit, expected: (u64, u64, u64)) {
    let report = report(store, COUNTS).await;
    let came = (report.users, report.entries, report.positions);
    COUNTS.same("the users, entries and positions", &came, &expected);
}

/// Fails unless there are this many findings.
async fn finds(store: &dyn Audit, expected: usize, when: &str, clause: Clause) {
    let findings = report(store, clause).await.findings;
    let (came, last) = (findings.len(), findings.last());
    clause.holds(
        came == expected,
        format_args!("{when}: expected {expected} findings, and got {came}; the last is {last:?}"),
    );
}

/// Fails unless there is one finding, which names this.
async fn finds_one(store: &dyn Audit, about: &str) {
    finds(store, 1, &format!("with a reward owed for {about}"), OWED).await;
    let findings = report(store, OWED).await.findings;
    let named = findings.iter().all(|finding| finding.contains(about));
    OWED.holds(named, format_args!("expected a finding that names {about}, and got {findings:?}"));
}
