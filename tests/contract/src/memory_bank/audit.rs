//! Whether the tables fit each other.

use std::num::NonZeroU64;

use async_trait::async_trait;
use doorstep_domain::ports::{Audit, AuditReport, StoreError};
use doorstep_domain::{EarnedBy, EntryKind, LedgerEntry, NewUser, RewardRules};

use super::{MemoryBank, Tables};

impl Tables {
    /// One sentence for each violation.
    fn findings(&self, rules: &RewardRules) -> Vec<String> {
        let mut findings = Vec::new();
        let mut held = 0_i128;
        for (NewUser { user, .. }, balance) in &self.users {
            let theirs = self.ledger.iter().filter(|entry| entry.user_id == user.id);
            let sum: i128 = theirs.map(|entry| i128::from(entry.amount.minor_units())).sum();
            held += i128::from(balance.minor_units());
            if sum != i128::from(balance.minor_units()) {
                findings.push(format!("user {} has {balance}, and entries of {sum}", user.id));
            }
        }
        let mut given = 0_i128;
        for row in &self.positions {
            match row.position.closed {
                None => held += i128::from(row.position.cost.minor_units()),
                Some(closed) => given += i128::from(closed.realised_pnl.minor_units()),
            }
        }
        for entry in &self.ledger {
            if entry.kind.is_reward() {
                given += i128::from(entry.amount.minor_units());
            }
            let about = self.positions.iter().find(|row| {
                row.position.user_id == entry.user_id
                    && row.position.id.to_string() == entry.reference
            });
            let number = about.and_then(|row| row.close_number);
            let fits = match entry.kind {
                EntryKind::WelcomeGift => entry.reference == entry.user_id.to_string(),
                EntryKind::FirstClose => number == Some(NonZeroU64::MIN),
                EntryKind::CloseMilestone | EntryKind::PositionClosed => number.is_some(),
                EntryKind::PositionOpened => about.is_some(),
            };
            if !fits {
                let LedgerEntry { id, user_id, reference, .. } = entry;
                findings.push(format!("entry {id} of user {user_id} is about {reference}"));
            }
        }
        if held != given {
            findings.push(format!("all money together is {held}, and {given} was given"));
        }
        for rule in rules.iter() {
            self.check_rule(rule.reward, rule.earned_by, &mut findings);
        }
        findings
    }

    fn check_rule(&self, reward: EntryKind, by: EarnedBy, findings: &mut Vec<String>) {
        if by == EarnedBy::Registering {
            for (NewUser { user, .. }, _) in &self.users {
                let same = |entry: &&LedgerEntry| entry.user_id == user.id && entry.kind == reward;
                let count = self.ledger.iter().filter(same).count();
                if count != 1 {
                    findings.push(format!("user {} has {count} of {}", user.id, reward.as_str()));
                }
            }
        }
        for position in self.earned(by) {
            if !self.has_entry(&position.user_id, reward, &position.id.to_string()) {
                findings.push(format!("position {} earned {}", position.id, reward.as_str()));
            }
        }
    }
}

#[async_trait]
impl Audit for MemoryBank {
    async fn audit(&self, rules: &RewardRules) -> Result<AuditReport, StoreError> {
        let tables = self.tables();
        let mut findings = tables.findings(rules);
        findings.truncate(AuditReport::MAX_FINDINGS);
        Ok(AuditReport {
            users: tables.users.len() as u64,
            entries: tables.ledger.len() as u64,
            positions: tables.positions.len() as u64,
            findings,
        })
    }
}
