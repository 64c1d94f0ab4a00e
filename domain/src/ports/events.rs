use async_trait::async_trait;

use crate::DomainEvent;

/// Raises domain events.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait EventPublisher: Send + Sync {
    /// Hands the event to every handler's queue, without waiting for any handler to look at it.
    ///
    /// Events published one after the other are seen in that order by every handler. Waits only while a
    /// queue is full.
    async fn publish(&self, event: DomainEvent) -> Result<(), PublishError>;
}

/// The event was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The bus has been stopped; what the database holds is reconciled at the next start.
    #[error("the event bus has stopped")]
    Stopped,
}

/// Reacts to domain events.
///
/// A handler may publish events of its own, but none that would come back to it, directly or through
/// others: with queues that are bounded and lose nothing, a circle could wait for itself.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait EventHandler: Send + Sync {
    /// Its name in logs and metrics.
    fn name(&self) -> &'static str;

    /// Whether this event concerns it; those that do not never enter its queue.
    fn wants(&self, event: &DomainEvent) -> bool;

    /// Handles one event. Failing or panicking is logged and counted, and ends this event only.
    async fn handle(&self, event: &DomainEvent) -> Result<(), HandlerError>;
}

/// What went wrong in a handler: for the log, not for deciding anything.
pub type HandlerError = Box<dyn std::error::Error + Send + Sync>;
