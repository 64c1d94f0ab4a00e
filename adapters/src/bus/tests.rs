mod schedules;

use std::{
    num::NonZeroUsize,
    pin::pin,
    sync::{Arc, Mutex, OnceLock},
};

use async_trait::async_trait;
use doorstep_domain::{
    DomainEvent, EntryKind, Money, Timestamp, UserId,
    ports::{EventHandler, EventPublisher, HandlerError, PublishError},
};
use futures_util::{future::join_all, poll};
use tokio::{sync::Semaphore, task::yield_now};
use uuid::Uuid;

use super::{Bus, HandlerStats};

/// The event `n` is followed by the event `n + FOLLOW_UP`.
const FOLLOW_UP: i64 = 1_000_000;

fn event(number: i64) -> DomainEvent {
    DomainEvent::RewardGranted {
        user_id: UserId::from(Uuid::nil()),
        reward: EntryKind::WelcomeGift,
        amount: Money::from_minor(number),
        reference: String::new(),
        at: Timestamp::from_micros(0),
    }
}

fn number(event: &DomainEvent) -> i64 {
    match event {
        DomainEvent::RewardGranted { amount, .. } => amount.minor_units(),
        other => panic!("not one of ours: {other:?}"),
    }
}

/// Records its events, after doing what the test asks for.
struct Recorder {
    wants: fn(i64) -> bool,
    does: fn(i64) -> Does,
    /// Has one permit per event that has reached the handler.
    entered: Semaphore,
    /// Each event takes one permit, unless the handler needs none.
    gate: Option<Semaphore>,
    publisher: OnceLock<Arc<dyn EventPublisher>>,
    seen: Mutex<Vec<i64>>,
}

enum Does {
    Nothing,
    Fail,
    Panic,
    /// Publishes the event's follow-up.
    Follow,
    Yield,
}

impl Recorder {
    fn new() -> Self {
        Self {
            wants: |_| true,
            does: |_| Does::Nothing,
            entered: Semaphore::new(0),
            gate: None,
            publisher: OnceLock::new(),
            seen: Mutex::default(),
        }
    }

    fn gated() -> Self {
        Self { gate: Some(Semaphore::new(0)), ..Self::new() }
    }

    fn open_gate(&self) {
        self.gate.as_ref().unwrap().close();
    }

    async fn entered(&self, events: u32) {
        self.entered.acquire_many(events).await.unwrap().forget();
    }

    fn seen(&self) -> Vec<i64> {
        self.seen.lock().unwrap().clone()
    }
}

#[async_trait]
impl EventHandler for Recorder {
    fn name(&self) -> &'static str {
        "recorder"
    }

    fn wants(&self, event: &DomainEvent) -> bool {
        (self.wants)(number(event))
    }

    async fn handle(&self, event: &DomainEvent) -> Result<(), HandlerError> {
        self.entered.add_permits(1);
        if let Some(gate) = &self.gate {
            gate.acquire().await.map(tokio::sync::SemaphorePermit::forget).ok();
        }
        let number = number(event);
        self.seen.lock().unwrap().push(number);
        match (self.does)(number) {
            Does::Nothing => Ok(()),
            Does::Fail => Err(format!("{number} is not to its taste").into()),
            Does::Panic => panic!("{number} is too much for it"),
            Does::Follow => {
                Ok(self.publisher.get().unwrap().publish(self::event(number + FOLLOW_UP)).await?)
            }
            Does::Yield => {
                yield_now().await;
                Ok(())
            }
        }
    }
}

/// A bus with queues of this many events, whose handlers have a publisher.
fn start(queue: usize, handlers: &[&Arc<Recorder>]) -> (Bus, Arc<dyn EventPublisher>) {
    let mut wiring = Bus::wire().queue(NonZeroUsize::new(queue).unwrap());
    let publisher = wiring.publisher();
    for handler in handlers {
        handler.publisher.set(Arc::clone(&publisher)).ok();
        wiring = wiring.handler(Arc::clone(handler) as Arc<dyn EventHandler>);
    }
    (wiring.start(), publisher)
}

fn stats_of(bus: &Bus, index: usize) -> HandlerStats {
    bus.stats().swap_remove(index)
}

#[tokio::test]
async fn events_come_in_the_order_in_which_they_were_published() {
    let handler = Arc::new(Recorder::new());
    let (bus, events) = start(65_536, &[&handler]);
    for n in 0..1_000 {
        events.publish(event(n)).await.unwrap();
    }
    bus.stop().await;
    assert_eq!(handler.seen(), (0..1_000).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_handlers_see_one_order_whoever_publishes() {
    const EACH: i64 = 2_000;
    let handlers = [(); 3].map(|()| Arc::new(Recorder::new()));
    let (bus, events) = start(64, &handlers.each_ref());
    let publishers = (0..4).map(|publisher| {
        let events = Arc::clone(&events);
        tokio::spawn(async move {
            for n in 0..EACH {
                events.publish(event(publisher * EACH + n)).await.unwrap();
            }
        })
    });
    for publisher in join_all(publishers).await {
        publisher.unwrap();
    }
    bus.stop().await;

    let order = handlers[0].seen();
    assert_eq!(order.len(), usize::try_from(4 * EACH).unwrap());
    for publisher in 0..4 {
        let own = order.iter().filter(|n| **n / EACH == publisher);
        assert!(own.is_sorted(), "publisher {publisher} saw its own events overtake each other");
    }
    assert!(
        handlers.iter().all(|handler| handler.seen() == order),
        "the handlers disagree on the order"
    );
}

#[tokio::test]
async fn a_full_queue_makes_publishers_wait_and_loses_nothing() {
    let slow = Arc::new(Recorder { wants: |n| n < 100, ..Recorder::gated() });
    let quick = Arc::new(Recorder::new());
    let (bus, events) = start(2, &[&slow, &quick]);

    events.publish(event(0)).await.unwrap();
    slow.entered(1).await; // It has one in hand ...
    events.publish(event(1)).await.unwrap();
    events.publish(event(2)).await.unwrap(); // ... and a full queue.
    let mut waiting = pin!(events.publish(event(3)));
    assert!(poll!(waiting.as_mut()).is_pending());
    assert_eq!((stats_of(&bus, 0).backpressure_waits, stats_of(&bus, 0).queued), (1, 2));

    // Other events are not affected: an event that the slow handler does not want goes through, and the waiting
    // one has reached no handler.
    events.publish(event(100)).await.unwrap();
    quick.entered(4).await;
    assert_eq!(quick.seen(), [0, 1, 2, 100]);

    slow.open_gate();
    waiting.await.unwrap();
    bus.stop().await;
    assert_eq!(slow.seen(), [0, 1, 2, 3]);
    assert_eq!(quick.seen(), [0, 1, 2, 100, 3]);
    assert_eq!(
        stats_of(&bus, 0).backpressure_waits,
        1,
        "one publish waited, however often it had to look"
    );
}

#[tokio::test]
async fn a_failing_or_panicking_handler_goes_on_with_its_next_event() {
    let troubled = Arc::new(Recorder {
        wants: |n| if n == 4 { panic!("cannot even tell") } else { true },
        does: |n| match n {
            1 => Does::Fail,
            2 | 3 => Does::Panic,
            _ => Does::Nothing,
        },
        ..Recorder::new()
    });
    let other = Arc::new(Recorder::new());
    let (bus, events) = start(16, &[&troubled, &other]);
    for n in 0..6 {
        events.publish(event(n)).await.unwrap();
    }
    bus.stop().await;

    assert_eq!(troubled.seen(), [0, 1, 2, 3, 5]);
    assert_eq!(other.seen(), [0, 1, 2, 3, 4, 5]);
    let stats = stats_of(&bus, 0);
    assert_eq!((stats.handled, stats.failed, stats.panicked), (2, 1, 3));
    let stats = stats_of(&bus, 1);
    assert_eq!((stats.handled, stats.failed, stats.panicked, stats.queued), (6, 0, 0, 0));
}

#[tokio::test]
async fn a_slow_handler_does_not_slow_another() {
    let slow = Arc::new(Recorder::gated());
    let quick = Arc::new(Recorder::new());
    let (bus, events) = start(1_000, &[&slow, &quick]);
    for n in 0..1_000 {
        events.publish(event(n)).await.unwrap();
    }
    quick.entered(1_000).await;
    assert_eq!(slow.seen(), [0_i64; 0]);
    slow.open_gate();
    bus.stop().await;
    assert_eq!(slow.seen(), quick.seen());
}

#[tokio::test]
async fn handlers_get_only_what_they_want() {
    let even = Arc::new(Recorder { wants: |n| n % 2 == 0, ..Recorder::new() });
    let none = Arc::new(Recorder { wants: |_| false, ..Recorder::new() });
    let (bus, events) = start(4, &[&even, &none]);
    for n in 0..6 {
        events.publish(event(n)).await.unwrap();
    }
    bus.stop().await;
    assert_eq!(even.seen(), [0, 2, 4]);
    assert_eq!(none.seen(), [0_i64; 0]);
}

#[tokio::test]
async fn a_stop_drains_the_queues_with_all_that_follows() {
    // Two steps deep, through queues so small that the follow-ups themselves must wait.
    let first = Arc::new(Recorder {
        wants: |n| n < FOLLOW_UP,
        does: |_| Does::Follow,
        ..Recorder::gated()
    });
    let second = Arc::new(Recorder {
        wants: |n| (FOLLOW_UP..2 * FOLLOW_UP).contains(&n),
        does: |_| Does::Follow,
        ..Recorder::new()
    });
    let third = Arc::new(Recorder {
        wants: |n| n >= 2 * FOLLOW_UP,
        does: |_| Does::Yield,
        ..Recorder::new()
    });
    let (bus, events) = start(3, &[&first, &second, &third]);
    for n in 0..3 {
        events.publish(event(n)).await.unwrap();
    }
    first.entered(1).await;
    let taken = stats_of(&bus, 0).queued; // It took a batch; fill what became free.
    for n in 3..(6 - i64::try_from(taken).unwrap()) {
        events.publish(event(n)).await.unwrap();
    }
    let mut waiting = pin!(events.publish(event(99)));
    assert!(poll!(waiting.as_mut()).is_pending());

    let mut stop = pin!(bus.stop());
    assert!(poll!(stop.as_mut()).is_pending());
    assert_eq!(
        events.publish(event(98)).await,
        Err(PublishError::Stopped),
        "outsiders are refused"
    );
    assert_eq!(waiting.await, Err(PublishError::Stopped), "also those that waited");

    first.open_gate();
    stop.await;
    assert_eq!(first.seen(), (0..6).collect::<Vec<_>>());
    assert_eq!(third.seen(), (0..6).map(|n| n + 2 * FOLLOW_UP).collect::<Vec<_>>());
    assert!(bus.stats().iter().all(|stats| stats.failed == 0 && stats.queued == 0));
    assert_eq!(events.publish(event(97)).await, Err(PublishError::Stopped));
    bus.stop().await; // A second call is harmless.
}

#[tokio::test]
async fn a_quiet_bus_has_handled_all_that_follows_and_takes_more() {
    let first = Arc::new(Recorder {
        wants: |n| n < FOLLOW_UP,
        does: |_| Does::Follow,
        ..Recorder::gated()
    });
    let second =
        Arc::new(Recorder { wants: |n| n >= FOLLOW_UP, does: |_| Does::Yield, ..Recorder::new() });
    let (bus, events) = start(3, &[&first, &second]);
    events.publish(event(0)).await.unwrap();
    first.entered(1).await;
    let mut quiet = pin!(bus.quiet());
    assert!(poll!(quiet.as_mut()).is_pending(), "it is in hand");
    first.open_gate();
    quiet.await;
    assert_eq!(second.seen(), [FOLLOW_UP]);
    events.publish(event(1)).await.unwrap();
    bus.quiet().await;
    assert_eq!(second.seen(), [FOLLOW_UP, FOLLOW_UP + 1]);
    bus.stop().await;
    bus.quiet().await; // After the stop it stays quiet.
}

/// Takes up to three at a time.
#[derive(Default)]
struct InThrees {
    seen: Mutex<Vec<Vec<i64>>>,
}

#[async_trait]
impl EventHandler for InThrees {
    fn name(&self) -> &'static str {
        "in threes"
    }

    fn wants(&self, _: &DomainEvent) -> bool {
        true
    }

    fn at_a_time(&self) -> NonZeroUsize {
        NonZeroUsize::new(3).unwrap()
    }

    async fn handle(&self, event: &DomainEvent) -> Result<(), HandlerError> {
        self.seen.lock().unwrap().push(vec![number(event)]);
        Ok(())
    }

    async fn handle_together(&self, events: &[Arc<DomainEvent>]) -> Vec<Result<(), HandlerError>> {
        let numbers: Vec<i64> = events.iter().map(|event| number(event)).collect();
        self.seen.lock().unwrap().push(numbers.clone());
        assert!(!numbers.contains(&7), "7 is too much for it");
        let result = |n| if n == 1 { Err("1 is not to its taste".into()) } else { Ok(()) };
        numbers.into_iter().map(result).collect()
    }
}

#[tokio::test]
async fn a_handler_may_take_several_that_have_gathered() {
    let handler = Arc::new(InThrees::default());
    let wiring = Bus::wire();
    let events = wiring.publisher();
    let bus = wiring.handler(Arc::clone(&handler) as Arc<dyn EventHandler>).start();
    for n in 0..10 {
        events.publish(event(n)).await.unwrap();
    }
    bus.quiet().await;
    assert_eq!(
        *handler.seen.lock().unwrap(),
        [vec![0, 1, 2], vec![3, 4, 5], vec![6, 7, 8], vec![9]]
    );
    let stats = stats_of(&bus, 0);
    assert_eq!((stats.handled, stats.failed, stats.panicked), (6, 1, 3));
    bus.stop().await;
}

#[tokio::test]
async fn events_are_refused_before_the_start_and_after_the_end() {
    let wiring = Bus::wire();
    let events = wiring.publisher();
    assert_eq!(events.publish(event(0)).await, Err(PublishError::Stopped));

    let handler = Arc::new(Recorder::new());
    handler.publisher.set(Arc::clone(&events)).ok();
    let bus = wiring.handler(Arc::clone(&handler) as Arc<dyn EventHandler>).start();
    bus.stop().await;
    drop(bus);
    assert_eq!(events.publish(event(1)).await, Err(PublishError::Stopped));
    assert_eq!(Arc::strong_count(&handler), 1, "bus and handlers hold each other");
}

#[tokio::test]
async fn a_bus_without_handlers_takes_events_and_stops() {
    let (bus, events) = start(1, &[]);
    events.publish(event(0)).await.unwrap();
    bus.stop().await;
}
