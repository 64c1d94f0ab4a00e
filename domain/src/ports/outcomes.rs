use async_trait::async_trait;

use crate::Ended;

/// Is told how each notification ended: counters, logs, domain events, a webhook.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait Outcomes: Send + Sync {
    /// These notifications have ended, each exactly once. The list is never empty.
    ///
    /// An implementation may wait, which slows delivery down instead of losing outcomes, but **it must not wait for
    /// a delivery**.
    async fn ended(&self, ended: Vec<Ended>);
}
