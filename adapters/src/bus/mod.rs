//! The in-memory event bus: typed, in process, no broker.
//!
//! Every handler has a queue of its own and a task that empties it. A publisher puts its event into the
//! queues of all handlers that want it, under one lock, and goes on: that lock is what makes the order of
//! events the same for every handler, however many publish at once. What costs time - a handler's work, the
//! waking of its task - happens outside of it.
//!
//! # What it promises
//! - A handler sees each event that it wants once, in publish order.
//! - A slow, failing or panicking handler is its own affair. Only when its queue is full do publishers wait
//!   for it, and only those whose event it wants; this is counted.
//! - Nothing accepted is dropped: [`Bus::stop`] refuses new events and ends when every queue is empty and
//!   every handler at rest. What handlers themselves publish meanwhile is still taken.
//!
//! # Wiring
//! Handlers publish, so they need the bus before it can know them. Hence two steps:
//!
//! ```
//! # use std::sync::Arc;
//! # use async_trait::async_trait;
//! # use doorstep_adapters::bus::Bus;
//! # use doorstep_domain::{DomainEvent, ports::{EventHandler, EventPublisher, HandlerError}};
//! # struct Rewards(Arc<dyn EventPublisher>);
//! # #[async_trait]
//! # impl EventHandler for Rewards {
//! #     fn name(&self) -> &'static str { "rewards" }
//! #     fn wants(&self, _: &DomainEvent) -> bool { true }
//! #     async fn handle(&self, _: &DomainEvent) -> Result<(), HandlerError> { Ok(()) }
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let wiring = Bus::wire();
//! let events = wiring.publisher();
//! let bus = wiring.handler(Arc::new(Rewards(events.clone()))).start();
//! // ... whoever has `events` publishes ...
//! bus.stop().await;
//! # }
//! ```

mod queues;
mod stats;
mod subscription;
#[cfg(test)]
mod tests;

use std::{
    num::NonZeroUsize,
    sync::{Arc, Weak},
};

use async_trait::async_trait;
use doorstep_domain::{
    DomainEvent,
    ports::{EventHandler, EventPublisher, PublishError},
};
use tokio::task::coop;
use tokio_util::task::TaskTracker;

use queues::{QueueOffer, Queues};
pub use stats::HandlerStats;
use subscription::Subscription;

/// How many events a handler's queue holds unless set otherwise: about half a MiB of pointers when full.
pub const DEFAULT_QUEUE_EVENTS: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();

/// How many handlers a bus can have.
pub const MAX_HANDLERS: usize = 64;

tokio::task_local! {
    /// The bus whose handler the current task is: that is how a handler's own events are told from those of
    /// outsiders while the bus drains.
    static HANDLER_OF: BusId;
}

/// Tells one bus from another: the address of what its handlers share.
type BusId = usize;

/// A bus that is being put together: hands out publishers, takes handlers.
pub struct Wiring {
    queues: Arc<Queues>,
    capacity: NonZeroUsize,
    handlers: Vec<Arc<dyn EventHandler>>,
}

impl Wiring {
    /// Sets how many events each handler's queue holds; [`DEFAULT_QUEUE_EVENTS`] if never called.
    pub fn queue(mut self, events: NonZeroUsize) -> Self {
        self.capacity = events;
        self
    }

    /// A publisher, for handlers and everybody else. Until [`start`](Self::start), its events are refused.
    pub fn publisher(&self) -> Arc<dyn EventPublisher> {
        Arc::new(Publisher { queues: Arc::downgrade(&self.queues) })
    }

    /// Adds a handler.
    ///
    /// # Panics
    /// When there are [`MAX_HANDLERS`] already.
    pub fn handler(mut self, handler: Arc<dyn EventHandler>) -> Self {
        assert!(
            self.handlers.len() < MAX_HANDLERS,
            "an event bus has at most {MAX_HANDLERS} handlers"
        );
        self.handlers.push(handler);
        self
    }

    /// Starts a task for each handler.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(self) -> Bus {
        let Self { queues, capacity, handlers } = self;
        let tasks = TaskTracker::new();
        let count = handlers.len();
        queues.open(handlers.into_iter().map(Subscription::new).collect(), capacity);
        for index in 0..count {
            let id = queues.id();
            tasks.spawn(HANDLER_OF.scope(id, run(Arc::clone(&queues), index)));
        }
        tasks.close();
        Bus { queues, tasks }
    }
}

/// The running bus. Clones are the same bus; it runs until [`stop`](Self::stop), also when all are gone.
#[derive(Clone)]
pub struct Bus {
    queues: Arc<Queues>,
    tasks: TaskTracker,
}

impl Bus {
    /// Begins to put a bus together.
    pub fn wire() -> Wiring {
        Wiring {
            queues: Arc::new(Queues::new()),
            capacity: DEFAULT_QUEUE_EVENTS,
            handlers: Vec::new(),
        }
    }

    /// Returns at a moment when all events that were taken are handled, with all that followed from them. New
    /// ones are still taken: this is for whoever stops one part after another, and has events to raise yet.
    ///
    /// Whoever cannot wait puts a timeout around it. Not for handlers, which would wait for themselves.
    pub async fn quiet(&self) {
        self.queues.quiet().await;
    }

    /// Refuses new events and returns when all that were taken are handled, with all that followed from them.
    ///
    /// A publisher that waits for room in a queue is refused as well: its event was not taken yet. A handler
    /// is known by the task it runs in; what it has other tasks publish counts as from outside.
    ///
    /// Takes as long as the handlers do; whoever cannot wait puts a timeout around it, which cancels only the
    /// waiting. Not for handlers, which would wait for themselves.
    pub async fn stop(&self) {
        self.queues.drain();
        self.tasks.wait().await;
    }

    /// What each handler has done so far, in the order in which they were added.
    pub fn stats(&self) -> Vec<HandlerStats> {
        self.queues.stats()
    }
}

/// Does not keep the bus alive: handlers own publishers and the bus owns handlers, which would be a circle.
struct Publisher {
    queues: Weak<Queues>,
}

#[async_trait]
impl EventPublisher for Publisher {
    async fn publish(&self, event: DomainEvent) -> Result<(), PublishError> {
        let queues = self.queues.upgrade().ok_or(PublishError::Stopped)?;
        // A task that does nothing but publish would keep the handlers that it woke from its thread.
        coop::consume_budget().await;
        let takers = queues.wanted_by(&event)?;
        let event = Arc::new(event);
        let mut waited = false;
        loop {
            match queues.offer(&event, takers)? {
                QueueOffer::Taken => return Ok(()),
                QueueOffer::Full { subscription, room } => {
                    if !waited {
                        subscription.counters.publisher_waited();
                        waited = true;
                    }
                    room.await;
                }
            }
        }
    }
}

/// One handler's task: handles what its queue holds until the bus has stopped.
async fn run(queues: Arc<Queues>, index: usize) {
    let mut batch = Vec::new();
    while queues.next_batch(index, &mut batch).await {
        let subscription = queues.subscription(index);
        for event in batch.drain(..) {
            subscription.handle(&event).await;
            coop::consume_budget().await;
        }
    }
}
