use async_trait::async_trait;

use crate::RewardRules;

/// Why a store did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, or did not answer in time: the same call may succeed later. Whether a write
    /// took effect is unknown.
    ///
    /// The reason is in the text and so is no `source`: it would be printed twice.
    #[error("the store is unavailable: {0}")]
    Unavailable(Box<dyn std::error::Error + Send + Sync>),
    /// It holds something that should not be there: trying again will not help, somebody must look.
    #[error("the store holds something unexpected: {0}")]
    Corrupt(String),
}

/// Whether this node can serve.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait Readiness: Send + Sync {
    /// Asks the store for a sign of life.
    async fn check(&self) -> Result<(), StoreError>;
}

/// Looks whether the books are right.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait Audit: Send + Sync {
    /// Checks every invariant about money on all of the data, and changes nothing: balances and ledger,
    /// positions and their entries, and that what these rules give was given once for each fact that
    /// earned it.
    async fn audit(&self, rules: &RewardRules) -> Result<AuditReport, StoreError>;
}

/// What an audit saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditReport {
    /// Users looked at.
    pub users: u64,
    /// Ledger entries looked at.
    pub entries: u64,
    /// Positions looked at, open and closed.
    pub positions: u64,
    /// What is wrong, a sentence each; empty when all is well. At most [`AuditReport::MAX_FINDINGS`].
    pub findings: Vec<String>,
}

impl AuditReport {
    /// So many findings are listed before the audit stops collecting.
    pub const MAX_FINDINGS: usize = 1000;
}
