//! Compares a user's ledger, positions and balance with each other, and lists the popups that must have come.

use std::collections::{BTreeMap, BTreeSet};

use doorstep_domain::Money;

use super::api::{LedgerRow, PositionRow};

/// The event behind a popup, as text.
pub(super) type Fact = String;

/// The facts for which a user must have seen a popup, from their ledger and their closed positions.
pub(super) fn facts(ledger: &[LedgerRow], closed: &[PositionRow]) -> BTreeSet<Fact> {
    let rewards = ledger.iter().filter(|entry| !entry.kind.starts_with("position_"));
    let rewards = rewards.map(|entry| format!("reward.granted {} {}", entry.kind, entry.reference));
    let closed = closed.iter().map(|position| format!("position.closed {}", position.id));
    rewards.chain(closed).chain(["welcome".to_owned()]).collect()
}

/// The inconsistencies in a user's ledger and positions that the user can see.
pub(super) fn findings(
    balance: Money,
    ledger: &[LedgerRow],
    open: &[PositionRow],
    closed: &[PositionRow],
) -> Vec<String> {
    let mut wrong = Vec::new();
    let sum = ledger.iter().try_fold(Money::ZERO, |sum, entry| sum.checked_add(entry.amount));
    if sum != Some(balance) {
        wrong.push(format!("a balance of {balance}, but entries of {sum:?}"));
    }
    let mut entries: BTreeMap<(&str, &str), Vec<Money>> = BTreeMap::new();
    for entry in ledger {
        entries.entry((&entry.kind, &entry.reference)).or_default().push(entry.amount);
    }
    for ((kind, reference), amounts) in &entries {
        if amounts.len() > 1 {
            wrong.push(format!("{} entries of the kind {kind} for {reference}", amounts.len()));
        }
    }
    let one = |kind, position: &PositionRow| {
        entries.get(&(kind, position.id.as_str())).and_then(|amounts| amounts.first()).copied()
    };
    for position in open.iter().chain(closed) {
        if one("position_opened", position) != Money::ZERO.checked_sub(position.cost) {
            wrong.push(format!("the cost of {} is not reserved as it must be", position.id));
        }
    }
    for position in closed {
        let paid = position.realised_pnl.and_then(|pnl| position.cost.checked_add(pnl));
        if paid.is_none() || one("position_closed", position) != paid {
            wrong.push(format!("{} is not settled as it must be", position.id));
        }
    }
    let gifts = ledger.iter().filter(|entry| entry.kind == "welcome_gift").count();
    if gifts > 1 {
        wrong.push(format!("{gifts} welcome gifts"));
    }
    wrong
}
