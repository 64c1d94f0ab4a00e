use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use doorstep_domain::{DomainEvent, ports::EventHandler};
use futures_util::FutureExt;
use tokio::sync::Notify;

use super::stats::{Counters, HandlerStats};

/// A handler and what the bus keeps beside it.
pub(super) struct Subscription {
    handler: Arc<dyn EventHandler>,
    pub(super) counters: Counters,
    /// Its queue was empty and is not any more, or the bus drains.
    pub(super) work: Notify,
    /// Its queue has room again, or the bus drains.
    pub(super) room: Notify,
}

impl Subscription {
    pub(super) fn new(handler: Arc<dyn EventHandler>) -> Self {
        Self { handler, counters: Counters::default(), work: Notify::new(), room: Notify::new() }
    }

    /// Whether the handler wants it. One that panics here must not take the publisher down, and gets nothing.
    pub(super) fn wants(&self, event: &DomainEvent) -> bool {
        catch_unwind(AssertUnwindSafe(|| self.handler.wants(event))).unwrap_or_else(|panic| {
            self.panicked(event, panic.as_ref());
            false
        })
    }

    /// Has the handler handle it, whatever comes of that.
    pub(super) async fn handle(&self, event: &DomainEvent) {
        // Inside of an async block, so that a panic before the first await is caught as well. Unwind safe, as
        // nothing of ours is changed halfway, and the handler is asked for nothing but its next event.
        let handling = AssertUnwindSafe(async { self.handler.handle(event).await });
        match handling.catch_unwind().await {
            Ok(Ok(())) => self.counters.handled(),
            Ok(Err(error)) => {
                self.counters.failed();
                tracing::error!(
                    handler = self.handler.name(),
                    event = event.name(),
                    error,
                    "an event handler failed"
                );
            }
            Err(panic) => self.panicked(event, panic.as_ref()),
        }
    }

    fn panicked(&self, event: &DomainEvent, panic: &(dyn Any + Send)) {
        self.counters.panicked();
        tracing::error!(
            handler = self.handler.name(),
            event = event.name(),
            panic = message(panic),
            "an event handler panicked"
        );
    }

    pub(super) fn stats(&self, queued: usize) -> HandlerStats {
        self.counters.read(self.handler.name(), queued)
    }
}

/// What `panic!` was given: one of these two, unless someone panicked with a value of their own.
fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(not a text)")
}
