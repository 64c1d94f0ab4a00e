//! What is wrong with audits.

use async_trait::async_trait;
use doorstep_domain::RewardRules;
use doorstep_domain::ports::{Audit, AuditReport, Positions, StoreError};

use super::{Flaw, Wrong, WrongAdapter, with_flaws};
use crate::audit;

/// What each does, and the promise that it breaks.
const ALL: [(Flaw, &str, &str); 7] = [
    (Flaw::CountsNoEntries, "does not count entries", "audit counts"),
    (Flaw::SuspectsOpenPositions, "takes each open position for a fault", "audit clean"),
    (Flaw::IgnoresRules, "does not look for rewards that are owed", "audit owed"),
    (Flaw::MissesSecondGifts, "does not see that a gift was given twice", "audit double"),
    (Flaw::MissesForged, "does not see what an entry is about", "audit forged"),
    (Flaw::MissesTheSum, "does not add up all money", "audit unfounded"),
    (Flaw::ListsOneMore, "lists more findings than anybody reads", "audit bounded"),
];

pub(super) fn all() -> Vec<WrongAdapter> {
    with_flaws(&ALL, |flaw| async move {
        let wrong = Wrong::with(flaw);
        audit(wrong.clone(), wrong.clone(), wrong).await;
    })
}

#[async_trait]
impl Audit for Wrong {
    async fn audit(&self, rules: &RewardRules) -> Result<AuditReport, StoreError> {
        let none = RewardRules::none();
        let rules = if self.is(Flaw::IgnoresRules) { &none } else { rules };
        let mut report = self.inner.audit(rules).await?;
        let findings = &mut report.findings;
        match self.flaw {
            Flaw::CountsNoEntries => report.entries = 0,
            Flaw::SuspectsOpenPositions => {
                let open = self.inner.all_open(None, 1).await?;
                findings.extend(open.iter().map(|position| format!("{} is open", position.id)));
            }
            Flaw::MissesSecondGifts => findings.retain(|finding| !finding.contains("has 2 of")),
            Flaw::MissesForged => findings.retain(|finding| !finding.starts_with("entry")),
            Flaw::MissesTheSum => findings.retain(|finding| !finding.starts_with("all money")),
            Flaw::ListsOneMore if findings.len() == AuditReport::MAX_FINDINGS => {
                findings.push("and so on".to_owned());
            }
            _ => {}
        }
        Ok(report)
    }
}
