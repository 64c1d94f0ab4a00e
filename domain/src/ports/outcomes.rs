use async_trait::async_trait;

use crate::Ended;

/// Is told how each notification ended: counters, logs, domain events, a webhook.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait Outcomes: Send + Sync {
    /// These notifications have ended. The list is never empty, and no end is told twice.
    ///
    /// An implementation may wait. That delays neither delivery nor other observers: later ends queue up for this one,
    /// and each keeps a place of the node until it is told. So **an implementation must not wait until something is
    /// accepted**: the node may be full of ends that wait for it. An implementation that is far behind is not told of
    /// everything that took no place: refusals, and ends of inbox items. The log says how many.
    async fn ended(&self, ended: Vec<Ended>);
}
