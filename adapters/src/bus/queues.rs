use std::{
    collections::VecDeque,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use doorstep_domain::{Event, ports::PublishError};
use tokio::sync::{Notify, futures::Notified};

use super::{BusId, HANDLER_OF, HandlerStats, Subscription};

/// How many events a handler takes from its queue at a time. More would gain little, and add to the bound of the
/// queue.
const BATCH_EVENTS: usize = 256;

/// A set of subscriptions, one bit each.
pub(super) type HandlerSet = u64;

/// The queues of all handlers, behind one lock: its holder decides which event comes next, for all of them.
pub(super) struct Queues<E: Event> {
    /// Set once, at the start.
    subscriptions: OnceLock<Box<[Subscription<E>]>>,
    state: Mutex<BusState<E>>,
    /// Every handler is at rest.
    quiet: Notify,
}

struct BusState<E> {
    phase: BusPhase,
    capacity: usize,
    /// One per subscription, in the same order.
    queues: Vec<HandlerQueue<E>>,
}

struct HandlerQueue<E> {
    events: VecDeque<Arc<E>>,
    /// The handler has no event in hand and none queued, and sleeps until it is woken.
    at_rest: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BusPhase {
    Running,
    /// Only handlers may publish.
    Draining,
    Stopped,
}

/// The result of offering an event.
pub(super) enum QueueOffer<'a, E: Event> {
    /// It is in the queue of every handler that wants it.
    Taken,
    /// It is in no queue, because this handler's queue is full. Try again when there is `room`.
    Full { subscription: &'a Subscription<E>, room: Notified<'a> },
}

impl<E: Event> Queues<E> {
    pub(super) fn new() -> Self {
        let state = BusState { phase: BusPhase::Running, capacity: 0, queues: Vec::new() };
        Self { subscriptions: OnceLock::new(), state: Mutex::new(state), quiet: Notify::new() }
    }

    pub(super) fn id(self: &Arc<Self>) -> BusId {
        Arc::as_ptr(self).addr()
    }

    pub(super) fn open(&self, subscriptions: Box<[Subscription<E>]>, capacity: NonZeroUsize) {
        let mut state = self.lock();
        state.queues.resize_with(subscriptions.len(), || HandlerQueue {
            events: VecDeque::new(),
            at_rest: false,
        });
        state.capacity = capacity.get();
        drop(state);
        // From here on the queues can be used. They are opened only once: `Wiring::start` consumes the wiring.
        self.subscriptions.get_or_init(|| subscriptions);
    }

    pub(super) fn subscription(&self, index: usize) -> &Subscription<E> {
        &self.subscriptions()[index]
    }

    fn subscriptions(&self) -> &[Subscription<E>] {
        self.subscriptions.get().map_or(&[], |subscriptions| subscriptions)
    }

    /// The handlers that want this event. Called outside the lock, because it runs the handlers' own code.
    ///
    /// Refuses the event before the start, when the handlers are not known yet.
    pub(super) fn wanted_by(&self, event: &E) -> Result<HandlerSet, PublishError> {
        let subscriptions = self.subscriptions.get().ok_or(PublishError::Stopped)?;
        let wants = subscriptions.iter().map(|subscription| subscription.wants(event));
        Ok(wants
            .enumerate()
            .fold(0, |wanted, (index, wants)| wanted | HandlerSet::from(wants) << index))
    }

    /// Puts the event into the queues of all handlers that want it, or into none.
    ///
    /// All or none, for two reasons: the order is the same for all handlers, and no publisher holds a place in one
    /// queue while it waits for another, whose handler could be waiting for that place.
    pub(super) fn offer(
        self: &Arc<Self>,
        event: &Arc<E>,
        wanted: HandlerSet,
    ) -> Result<QueueOffer<'_, E>, PublishError> {
        let subscriptions = self.subscriptions();
        let mut to_wake: HandlerSet = 0;
        {
            let mut state = self.lock();
            match state.phase {
                BusPhase::Running => {}
                BusPhase::Draining
                    if HANDLER_OF.try_with(|id| *id == self.id()).unwrap_or(false) => {}
                BusPhase::Draining | BusPhase::Stopped => {
                    return Err(PublishError::Stopped);
                }
            }
            let capacity = state.capacity;
            if let Some(full) =
                ones(wanted).find(|index| state.queues[*index].events.len() >= capacity)
            {
                let subscription = &subscriptions[full];
                // Made under the lock: room that appears after this moment is noticed.
                return Ok(QueueOffer::Full { subscription, room: subscription.room.notified() });
            }
            for index in ones(wanted) {
                let queue = &mut state.queues[index];
                queue.events.push_back(Arc::clone(event));
                if queue.at_rest {
                    queue.at_rest = false;
                    to_wake |= 1 << index;
                }
            }
        }
        for index in ones(to_wake) {
            subscriptions[index].work.notify_one();
        }
        Ok(QueueOffer::Taken)
    }

    /// Waits for events of this handler, and moves the next ones into `batch`, which must be empty.
    ///
    /// The call means that the handler has finished the events that it took before. Returns `false` once the bus
    /// has stopped.
    pub(super) async fn next_batch(&self, index: usize, batch: &mut Vec<Arc<E>>) -> bool {
        let subscription = self.subscription(index);
        loop {
            let stopped = {
                let mut state = self.lock();
                let queue = &mut state.queues[index];
                if !queue.events.is_empty() {
                    let count = queue.events.len().min(BATCH_EVENTS);
                    batch.extend(queue.events.drain(..count));
                    drop(state);
                    subscription.room.notify_waiters();
                    return true;
                }
                queue.at_rest = true;
                if state.quiet() {
                    self.quiet.notify_waiters();
                }
                state.settle()
            };
            if stopped {
                self.wake_all();
                return false;
            }
            subscription.work.notified().await;
        }
    }

    /// Waits until every handler is at rest.
    pub(super) async fn quiet(&self) {
        loop {
            // Made before the check, so that a handler that comes to rest after it is noticed.
            let quiet = self.quiet.notified();
            if self.lock().quiet() {
                return;
            }
            quiet.await;
        }
    }

    /// From now on only handlers may publish. The bus stops when they have nothing left to do.
    pub(super) fn drain(&self) {
        {
            let mut state = self.lock();
            if state.phase == BusPhase::Running {
                state.phase = BusPhase::Draining;
            }
            state.settle();
        }
        self.wake_all();
    }

    /// Makes every handler and every waiting publisher check the phase again.
    fn wake_all(&self) {
        for subscription in self.subscriptions() {
            subscription.work.notify_one();
            subscription.room.notify_waiters();
        }
    }

    pub(super) fn stats(&self) -> Vec<HandlerStats> {
        let state = self.lock();
        let queued = state.queues.iter().map(|queue| queue.events.len());
        self.subscriptions().iter().zip(queued).map(|(one, queued)| one.stats(queued)).collect()
    }

    /// Only our own code runs under this lock, so it cannot be poisoned.
    fn lock(&self) -> MutexGuard<'_, BusState<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E> BusState<E> {
    /// Ends the draining when no handler can publish another event. Returns whether the bus has stopped.
    fn settle(&mut self) -> bool {
        if self.phase == BusPhase::Draining && self.quiet() {
            self.phase = BusPhase::Stopped;
        }
        self.phase == BusPhase::Stopped
    }

    fn quiet(&self) -> bool {
        self.queues.iter().all(|queue| queue.at_rest)
    }
}

/// The indices of the bits that are set.
fn ones(mut set: HandlerSet) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let index = (set != 0).then(|| set.trailing_zeros() as usize)?;
        set &= set - 1;
        Some(index)
    })
}
