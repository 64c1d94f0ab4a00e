//! Steps of the wall clock: they neither end a waiting notification nor extend its life, and others see the time
//! of day.

use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{Door, VirtualClock, ada, pass, popup, virtual_clock};
use async_trait::async_trait;
use doorstep_application::StopSignal;
use doorstep_application::delivery::{Delivery, Rule, Rules};
use doorstep_application::publishing::{
    Draft, Progress, PublishedRecords, Publishing, PublishingParts,
};
use doorstep_domain::ports::{
    Clock, Handover, Left, MockConnectionControl, MockIds, MockPusher, Pushed, StoreError,
};
use doorstep_domain::{Notification, NotificationId, Outcome, Payload, Timestamp, UserId};
use uuid::Uuid;

const HOUR: i64 = 3_600_000_000;

/// A clock whose time of day the test moves.
struct Steps {
    timeline: Arc<VirtualClock>,
    ahead: AtomicI64,
}

impl Steps {
    fn new() -> Arc<Self> {
        Arc::new(Self { timeline: virtual_clock(), ahead: AtomicI64::new(0) })
    }

    fn step(&self, micros: i64) {
        self.ahead.fetch_add(micros, SeqCst);
    }

    /// A notification that was created now, as time of day.
    fn popup(&self, n: u128) -> Notification {
        Notification { created_at: self.wall(), ..popup(n, &self.timeline) }
    }
}

impl Clock for Steps {
    fn now(&self) -> Timestamp {
        self.timeline.now()
    }

    fn wall_of(&self, moment: Timestamp) -> Timestamp {
        Timestamp::from_micros(moment.as_micros() + self.ahead.load(SeqCst))
    }

    fn moment_of(&self, wall: Timestamp) -> Timestamp {
        Timestamp::from_micros(wall.as_micros() - self.ahead.load(SeqCst))
    }
}

/// Takes every push, and records the notifications.
fn pusher() -> (MockPusher, Arc<Mutex<Vec<Notification>>>) {
    let (mut pusher, seen) = (MockPusher::new(), Arc::<Mutex<Vec<Notification>>>::default());
    let taken = seen.clone();
    pusher.expect_push().returning(move |n, _, _| {
        taken.lock().unwrap().push(n.clone());
        Ok(Pushed::Written)
    });
    (pusher, seen)
}

#[tokio::test(start_paused = true)]
async fn a_step_neither_ends_nor_revives_a_notification() {
    for step in [-2 * HOUR, 3 * HOUR] {
        let (clock, door) = (Steps::new(), Door::default());
        let (pusher, seen) = pusher();
        let delivery =
            Delivery::builder(Arc::new(door.presence()), Arc::new(pusher), clock.clone())
                .start()
                .unwrap();
        let early = delivery.send(clock.popup(1)).await.unwrap();
        clock.step(step);
        pass(Duration::from_secs(59)).await;
        door.set(true);
        delivery.arrived(&ada());
        assert_eq!(early.outcome().await, Some(Outcome::Delivered), "{step}");
        door.set(false);
        delivery.departed(&ada());
        let late = delivery.send(clock.popup(2)).await.unwrap();
        pass(Duration::from_secs(61)).await;
        assert_eq!(delivery.ended(Outcome::Expired), 1, "{step}");
        assert_eq!(late.outcome().await, Some(Outcome::Expired), "{step}");
        let shown = seen.lock().unwrap()[0].created_at;
        let expected = clock.wall_of(Timestamp::from_micros(1_700_000_000_000_000));
        assert_eq!(shown, expected, "others see the creation time by the clock as it is now");
    }
}

/// A handover store in memory.
#[derive(Default)]
struct Shelf(Mutex<Vec<Notification>>);

#[async_trait]
impl Handover for Shelf {
    async fn leave(&self, waiting: &[Notification]) -> Result<(), StoreError> {
        self.0.lock().unwrap().extend_from_slice(waiting);
        Ok(())
    }

    async fn take(&self, limit: usize) -> Result<Vec<Notification>, StoreError> {
        let mut left = self.0.lock().unwrap();
        let most = limit.min(left.len());
        Ok(left.drain(..most).collect())
    }

    async fn take_for(&self, _: &UserId, _: usize) -> Result<Vec<Notification>, StoreError> {
        Ok(Vec::new())
    }

    async fn take_one(&self, _: NotificationId) -> Result<Option<Notification>, StoreError> {
        Ok(None)
    }

    async fn take_expired(&self, _: Timestamp, _: usize) -> Result<Vec<Notification>, StoreError> {
        Ok(Vec::new())
    }

    async fn look(&self, _: u64, _: usize) -> Result<Vec<Left>, StoreError> {
        Ok(Vec::new())
    }

    fn is_shared(&self) -> bool {
        false
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_node_gets_the_remaining_ttl_after_a_step() {
    let (door, shelf) = (Door::default(), Arc::new(Shelf::default()));
    let start = |clock: &Arc<Steps>| {
        let clock: Arc<dyn Clock> = clock.clone();
        Delivery::builder(Arc::new(door.presence()), Arc::new(pusher().0), clock)
            .rules(Rules { default: Rule::default(), ..Rules::default() })
            .handover(shelf.clone())
            .start()
            .unwrap()
    };
    let clock = Steps::new();
    let delivery = start(&clock);
    drop(delivery.send(clock.popup(1)).await.unwrap());
    pass(Duration::from_secs(20)).await;
    clock.step(HOUR);
    assert_eq!(delivery.stop(Duration::from_secs(5)).await.handed_over, 1);
    // Another process: its timeline begins at the corrected time of day.
    let next = start(&clock);
    assert_eq!(next.take_up().await.unwrap(), 1);
    pass(Duration::from_secs(39)).await;
    assert_eq!(next.held().waiting, 1);
    pass(Duration::from_secs(2)).await;
    assert_eq!((next.held().waiting, next.ended(Outcome::Expired)), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_step_removes_no_record_and_records_show_the_time_of_day() {
    let (clock, door) = (Steps::new(), Door::default());
    let presence = Arc::new(door.presence());
    let records = Arc::new(PublishedRecords::new(PublishedRecords::KEEP, 1000, clock.clone()));
    let delivery = Delivery::builder(presence.clone(), Arc::new(pusher().0), clock.clone())
        .outcomes(records.clone())
        .start()
        .unwrap();
    let mut ids = MockIds::new();
    ids.expect_next().returning(|| Uuid::from_u128(9));
    let publishing = Publishing::new(PublishingParts {
        control: Arc::new(MockConnectionControl::new()),
        delivery: Arc::new(delivery),
        presence,
        records,
        clock: clock.clone(),
        ids: Arc::new(ids),
        stopping: StopSignal::new(),
    });
    let id = NotificationId::new(Uuid::from_u128(7));
    let draft = || Draft {
        user_id: UserId::clone(&ada()),
        kind: "news".parse().unwrap(),
        payload: Payload::parse("{}").unwrap(),
        topic: None,
        ttl: None,
        policy: None,
        id: Some(id),
        trace: None,
        sent_by: doorstep_domain::SentBy::Program,
    };
    clock.step(-5 * HOUR);
    let created = clock.wall();
    publishing.publish(draft()).await;
    assert_eq!(publishing.look_up(id).unwrap().created_at, created);
    pass(Duration::from_secs(61)).await;
    clock.step(7 * HOUR);
    let record = publishing.look_up(id).expect("an outcome is kept for an hour, despite a step");
    let Progress::Ended(Outcome::Expired, at) = record.progress else { panic!("{record:?}") };
    assert_eq!(at.since(record.created_at), Duration::from_mins(1));
    assert_eq!(clock.wall().since(at), Duration::from_secs(1));
}
