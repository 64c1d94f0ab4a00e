//! The in-memory event bus: typed, in process, no broker.
//!
//! Every handler has its own queue, and a task that empties it. A publisher puts its event into the queues of all
//! handlers that want it, under one lock: that lock makes the order of events the same for every handler, however
//! many publishers there are. Slow work (handling an event, waking a task) happens outside the lock.
//!
//! # Guarantees
//! - A handler sees each event that it wants once, in publish order: one at a time, unless it says that it takes more.
//! - A slow, failing or panicking handler does not affect others. Publishers wait for it only when its queue is full,
//!   and only with events that it wants; this is counted.
//! - Nothing accepted is dropped: [`Bus::stop`] refuses new events and ends when every queue is empty and
//!   every handler is at rest. Until then it still accepts events from handlers.
//!
//! # Wiring
//! Handlers publish events, so they need the bus before it knows them. Hence two steps:
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
//! // ... `events` publishes ...
//! bus.stop().await;
//! # }
//! ```
//!
//! # Events of your own
//! The bus carries any [`Event`]; [`DomainEvent`] is only the default. A program that embeds delivery has its own, and a
//! handler that turns them into notifications:
//!
//! ```
//! use std::sync::{Arc, Mutex};
//!
//! use async_trait::async_trait;
//! use doorstep_adapters::bus::Bus;
//! use doorstep_domain::Event;
//! use doorstep_domain::ports::{EventHandler, HandlerError};
//!
//! enum ShopEvent {
//!     OrderShipped { order: u64 },
//!     CartEmptied,
//! }
//!
//! impl Event for ShopEvent {
//!     fn name(&self) -> &'static str {
//!         match self {
//!             Self::OrderShipped { .. } => "OrderShipped",
//!             Self::CartEmptied => "CartEmptied",
//!         }
//!     }
//! }
//!
//! /// Yours calls `Delivery::send` here.
//! #[derive(Default)]
//! struct Shipped(Mutex<Vec<u64>>);
//!
//! #[async_trait]
//! impl EventHandler<ShopEvent> for Shipped {
//!     fn name(&self) -> &'static str {
//!         "shipped"
//!     }
//!     fn wants(&self, event: &ShopEvent) -> bool {
//!         matches!(event, ShopEvent::OrderShipped { .. })
//!     }
//!     async fn handle(&self, event: &ShopEvent) -> Result<(), HandlerError> {
//!         if let ShopEvent::OrderShipped { order } = event {
//!             self.0.lock().unwrap().push(*order);
//!         }
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let shipped = Arc::new(Shipped::default());
//! let wiring = Bus::wire().handler(shipped.clone());
//! let events = wiring.publisher();
//! let bus = wiring.start();
//! events.publish(ShopEvent::OrderShipped { order: 7 }).await?;
//! events.publish(ShopEvent::CartEmptied).await?;
//! bus.stop().await;
//! assert_eq!(*shipped.0.lock().unwrap(), [7]);
//! # Ok(())
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
    DomainEvent, Event,
    ports::{EventHandler, EventPublisher, PublishError},
};
use tokio::task::coop;
use tokio_util::task::TaskTracker;

use queues::{QueueOffer, Queues};
pub use stats::HandlerStats;
use subscription::Subscription;

/// The default capacity of a handler's queue: about half a MiB of pointers when full.
pub const DEFAULT_QUEUE_EVENTS: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();

/// The most handlers that a bus can have.
pub const MAX_HANDLERS: usize = 64;

tokio::task_local! {
    /// The bus whose handler the current task runs. While the bus drains, this tells events of handlers from
    /// events of other publishers.
    static HANDLER_OF: BusId;
}

/// Identifies a bus: the address of the state that its handlers share.
type BusId = usize;

/// A bus under construction: hands out publishers and takes handlers.
pub struct Wiring<E: Event = DomainEvent> {
    queues: Arc<Queues<E>>,
    capacity: NonZeroUsize,
    handlers: Vec<Arc<dyn EventHandler<E>>>,
}

impl<E: Event> Wiring<E> {
    /// Sets how many events each handler's queue holds; [`DEFAULT_QUEUE_EVENTS`] if never called.
    pub fn queue(mut self, events: NonZeroUsize) -> Self {
        self.capacity = events;
        self
    }

    /// A publisher, for handlers and all other code. Until [`start`](Self::start), its events are refused.
    pub fn publisher(&self) -> Arc<dyn EventPublisher<E>> {
        Arc::new(Publisher { queues: Arc::downgrade(&self.queues) })
    }

    /// Adds a handler.
    ///
    /// # Panics
    /// When there are [`MAX_HANDLERS`] already.
    pub fn handler(mut self, handler: Arc<dyn EventHandler<E>>) -> Self {
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
    pub fn start(self) -> Bus<E> {
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

/// A running bus. Clones are the same bus; it runs until [`stop`](Self::stop), even after all clones are dropped.
pub struct Bus<E: Event = DomainEvent> {
    queues: Arc<Queues<E>>,
    tasks: TaskTracker,
}

impl<E: Event> Clone for Bus<E> {
    fn clone(&self) -> Self {
        Self { queues: self.queues.clone(), tasks: self.tasks.clone() }
    }
}

impl<E: Event> Bus<E> {
    /// Begins to build a bus.
    pub fn wire() -> Wiring<E> {
        Wiring {
            queues: Arc::new(Queues::new()),
            capacity: DEFAULT_QUEUE_EVENTS,
            handlers: Vec::new(),
        }
    }

    /// Waits until all accepted events are handled, including the events that follow from them. New events are
    /// still accepted: this is for a stop in several steps, whose later steps may publish events.
    ///
    /// To limit the wait, use a timeout. Handlers must not call this: they would wait for themselves.
    pub async fn quiet(&self) {
        self.queues.quiet().await;
    }

    /// Refuses new events, and waits until all accepted events are handled, including the events that follow from
    /// them.
    ///
    /// A publisher that waits for room in a queue is refused as well, because its event was not accepted yet.
    /// Handlers are recognised by their task: events that they publish from other tasks count as events from
    /// outside.
    ///
    /// This takes as long as the handlers do. To limit the wait, use a timeout, which cancels only the wait.
    /// Handlers must not call this: they would wait for themselves.
    pub async fn stop(&self) {
        self.queues.drain();
        self.tasks.wait().await;
    }

    /// The statistics of each handler, in the order in which they were added.
    pub fn stats(&self) -> Vec<HandlerStats> {
        self.queues.stats()
    }
}

/// Does not keep the bus alive: handlers own publishers and the bus owns handlers, which would be a cycle.
struct Publisher<E: Event> {
    queues: Weak<Queues<E>>,
}

#[async_trait]
impl<E: Event> EventPublisher<E> for Publisher<E> {
    async fn publish(&self, event: E) -> Result<(), PublishError> {
        let queues = self.queues.upgrade().ok_or(PublishError::Stopped)?;
        // Yields now and then: a task that only publishes would keep the handlers that it woke from running on its
        // thread.
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

/// A handler's task: handles the events in its queue until the bus has stopped.
async fn run<E: Event>(queues: Arc<Queues<E>>, index: usize) {
    let mut batch = Vec::new();
    while queues.next_batch(index, &mut batch).await {
        let subscription = queues.subscription(index);
        for events in batch.chunks(subscription.at_a_time()) {
            subscription.handle(events).await;
            coop::consume_budget().await;
        }
        batch.clear();
    }
}
