use std::num::NonZeroUsize;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{DomainEvent, Event};

/// Raises events: ours, or those of a program of your own.
#[async_trait]
pub trait EventPublisher<E: Event = DomainEvent>: Send + Sync {
    /// Puts the event into every handler's queue, without waiting for the handlers.
    ///
    /// Every handler sees events that are published one after the other in that order. Waits only while a queue is
    /// full.
    async fn publish(&self, event: E) -> Result<(), PublishError>;
}

/// The event was not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The bus has stopped. The next start reconciles from the database.
    #[error("the event bus has stopped")]
    Stopped,
}

/// Reacts to events.
///
/// A handler may publish events of its own, but none that lead back to it, directly or through other handlers:
/// the queues are bounded and lose nothing, so a cycle could deadlock.
#[async_trait]
pub trait EventHandler<E: Event = DomainEvent>: Send + Sync {
    /// The handler's name in logs and metrics.
    fn name(&self) -> &'static str;

    /// Whether the handler wants this event. Other events never enter its queue.
    fn wants(&self, event: &E) -> bool;

    /// Handles one event. An error or a panic is logged and counted, and affects only this event.
    async fn handle(&self, event: &E) -> Result<(), HandlerError>;

    /// How many events the handler takes at a time. One that takes more than one, because together they cost it
    /// less, implements [`handle_together`](Self::handle_together).
    fn at_a_time(&self) -> NonZeroUsize {
        NonZeroUsize::MIN
    }

    /// Handles events that have gathered, in this order: at least one, at most [`at_a_time`](Self::at_a_time).
    /// Returns a result for each. An error affects only its event, a panic all of these.
    async fn handle_together(&self, events: &[Arc<E>]) -> Vec<Result<(), HandlerError>> {
        let mut results = Vec::with_capacity(events.len());
        for event in events {
            results.push(self.handle(event).await);
        }
        results
    }
}

/// An error of a handler. It is only logged.
pub type HandlerError = Box<dyn std::error::Error + Send + Sync>;

#[cfg(feature = "mocks")]
mockall::mock! {
    /// A mock of [`EventPublisher`] for our events.
    pub EventPublisher {}

    #[async_trait]
    impl EventPublisher for EventPublisher {
        async fn publish(&self, event: DomainEvent) -> Result<(), PublishError>;
    }
}

#[cfg(feature = "mocks")]
mockall::mock! {
    /// A mock of [`EventHandler`] for our events.
    pub EventHandler {}

    #[async_trait]
    impl EventHandler for EventHandler {
        fn name(&self) -> &'static str;
        fn wants(&self, event: &DomainEvent) -> bool;
        async fn handle(&self, event: &DomainEvent) -> Result<(), HandlerError>;
        fn at_a_time(&self) -> NonZeroUsize;
        async fn handle_together(
            &self,
            events: &[Arc<DomainEvent>],
        ) -> Vec<Result<(), HandlerError>>;
    }
}
