use async_trait::async_trait;

use crate::RewardRules;

/// Why a call of a store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It cannot be reached, or did not respond in time. The same call may succeed later. Whether a write took
    /// effect is unknown.
    ///
    /// The reason is in the message, and therefore not a `source`: it would be printed twice.
    #[error("the store is unavailable: {0}")]
    Unavailable(Box<dyn std::error::Error + Send + Sync>),
    /// It holds something invalid. A retry does not help; an operator must look at it.
    #[error("the store holds something unexpected: {0}")]
    Corrupt(String),
}

/// Whether this node can serve.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait Readiness: Send + Sync {
    /// Checks that the store responds.
    async fn check(&self) -> Result<Ready, StoreError>;
}

/// How ready a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready {
    /// It can do all that it is for.
    Fully,
    /// It serves, and lacks something that all nodes may lack at the same time, for this reason. A load balancer must not
    /// take it away.
    Degraded(String),
    /// It does not serve yet, for this reason.
    NotYet(String),
}

/// Audits the money in the store.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait Audit: Send + Sync {
    /// Checks every invariant about money on all data, and changes nothing: balances and ledger, positions and
    /// their entries, and that each fact earned the reward of these rules once.
    async fn audit(&self, rules: &RewardRules) -> Result<AuditReport, StoreError>;
}

/// The result of an audit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditReport {
    /// The number of users checked.
    pub users: u64,
    /// The number of ledger entries checked.
    pub entries: u64,
    /// The number of positions checked, open and closed.
    pub positions: u64,
    /// The violations, one sentence each, which names the user, position or entry; empty if there are none. At most
    /// [`AuditReport::MAX_FINDINGS`].
    pub findings: Vec<String>,
}

impl AuditReport {
    /// How many findings are listed; the audit stops collecting after that.
    pub const MAX_FINDINGS: usize = 1000;
}
