use std::{
    any::Any,
    error::Error,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use doorstep_domain::{Event, ports::EventHandler};
use futures_util::FutureExt;
use tokio::sync::Notify;

use super::stats::{Counters, HandlerStats};

/// A handler and the bus's state for it.
pub(super) struct Subscription<E: Event> {
    handler: Arc<dyn EventHandler<E>>,
    pub(super) counters: Counters,
    /// Notified when its queue is no longer empty, or the bus drains.
    pub(super) work: Notify,
    /// Notified when its queue has room again, or the bus drains.
    pub(super) room: Notify,
}

impl<E: Event> Subscription<E> {
    pub(super) fn new(handler: Arc<dyn EventHandler<E>>) -> Self {
        Self { handler, counters: Counters::default(), work: Notify::new(), room: Notify::new() }
    }

    /// Whether the handler wants the event. If it panics, it does not get the event, and the publisher goes on.
    pub(super) fn wants(&self, event: &E) -> bool {
        catch_unwind(AssertUnwindSafe(|| self.handler.wants(event))).unwrap_or_else(|panic| {
            self.panicked(event, panic.as_ref());
            false
        })
    }

    /// How many events the handler takes at a time.
    pub(super) fn at_a_time(&self) -> usize {
        catch_unwind(AssertUnwindSafe(|| self.handler.at_a_time().get())).unwrap_or(1)
    }

    /// Runs the handler with these events and counts the results.
    pub(super) async fn handle(&self, events: &[Arc<E>]) {
        // Inside an async block, so that a panic before the first await is caught as well. Unwind safe, because no
        // state of ours is changed half-way, and the handler is only called again with its next events.
        let handling = AssertUnwindSafe(async {
            match events {
                [event] => vec![self.handler.handle(event).await],
                events => self.handler.handle_together(events).await,
            }
        });
        match handling.catch_unwind().await {
            Ok(results) => {
                // A handler that returns too few results is counted as if the rest had succeeded.
                let results = results.into_iter().map(Some).chain(std::iter::repeat_with(|| None));
                for (event, result) in events.iter().zip(results) {
                    match result {
                        Some(Err(error)) => self.failed(event, &*error),
                        Some(Ok(())) | None => self.counters.handled(),
                    }
                }
            }
            Err(panic) => events.iter().for_each(|event| self.panicked(event, panic.as_ref())),
        }
    }

    fn failed(&self, event: &E, error: &(dyn Error + Send + Sync + 'static)) {
        self.counters.failed();
        tracing::error!(
            handler = self.handler.name(),
            event = event.name(),
            error,
            "an event handler failed"
        );
    }

    fn panicked(&self, event: &E, panic: &(dyn Any + Send)) {
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

/// The message of a panic. It is one of these two types unless the code panicked with another value.
fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(not a text)")
}
