use async_trait::async_trait;

use crate::Ended;

/// Is told how each notification ended: counters, logs, domain events, a webhook.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait Outcomes: Send + Sync {
    /// These notifications have ended, each for the first and only time. Never empty.
    ///
    /// May wait (and so slow the delivery down rather than lose anything), but not for a delivery.
    async fn ended(&self, ended: Vec<Ended>);
}
