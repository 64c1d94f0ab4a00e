//! Delivery under a model checker: at every lock, another thread may run in between.
//!
//! `tests/interleavings.sh`. The pure mailroom has its own
//! tests; these test the sharded map and the flush around it, in four races, and recall in five more. They find a
//! recall that is answered before the notification is out of its mailbox, and an item that is pushed from a page of
//! the inbox after its recall.

mod recall;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use doorstep_domain::ports::{
    Attempt, Clock, Inbox, Outcomes, Presence, PushError, Pushed, Pusher,
};
use doorstep_domain::{
    Ended, Notification, NotificationId, Outcome, Payload, Timestamp, Ttl, UserId,
};
use shuttle::thread;
use uuid::Uuid;

use super::capacity::Capacity;
use super::context::Context;
use super::endings::Endings;
use super::mailbox::Held;
use super::policy::{Limits, Rule, Rules};
use super::sync::Mutex;
use super::tasks::Tasks;
use super::wake::Wake;

/// Schedules per race: random ones, and those of the probabilistic scheduler, which looks for deep bugs.
const RANDOM: usize = 20_000;
const DEEP: usize = 5_000;

fn check(race: fn()) {
    shuttle::check_random(race, RANDOM);
    shuttle::check_pct(race, DEEP, 3);
}

/// A door with connections, which may acknowledge, and a clock that stands still until it is moved.
struct World {
    door: Mutex<Door>,
    now: AtomicI64,
}

#[derive(Default)]
struct Door {
    /// What each connection received; `None` once it is closed.
    connections: Vec<Option<Vec<NotificationId>>>,
    acks: bool,
    ended: Vec<(NotificationId, Outcome)>,
}

impl World {
    fn connect(&self) -> usize {
        let mut door = self.door.lock();
        door.connections.push(Some(Vec::new()));
        door.connections.len() - 1
    }

    fn disconnect(&self, connection: usize) {
        self.door.lock().connections[connection] = None;
    }

    fn ended(&self) -> Vec<(NotificationId, Outcome)> {
        self.door.lock().ended.clone()
    }
}

impl Clock for World {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.now.load(SeqCst))
    }
}

#[async_trait]
impl Presence for World {
    async fn is_online(&self, _: &UserId) -> bool {
        self.door.lock().connections.iter().any(Option::is_some)
    }
}

#[async_trait]
impl Pusher for World {
    async fn push(
        &self,
        n: &Notification,
        _: Attempt,
        deadline: Timestamp,
    ) -> Result<Pushed, PushError> {
        let mut door = self.door.lock();
        if self.now() >= deadline || door.connections.iter().all(Option::is_none) {
            return Ok(Pushed::Nobody);
        }
        for handed in door.connections.iter_mut().flatten() {
            if !handed.contains(&n.id) {
                handed.push(n.id);
            }
        }
        Ok(if door.acks { Pushed::InFlight } else { Pushed::Written })
    }
}

#[async_trait]
impl Outcomes for World {
    async fn ended(&self, ended: Vec<Ended>) {
        self.door.lock().ended.extend(ended.into_iter().map(|end| (end.id, end.outcome)));
    }
}

fn start(acks: bool) -> (Arc<World>, Arc<Wake>) {
    start_with(acks, None)
}

fn start_with(acks: bool, inbox: Option<Arc<dyn Inbox>>) -> (Arc<World>, Arc<Wake>) {
    let door = Mutex::new(Door { acks, ..Door::default() });
    let world = Arc::new(World { door, now: AtomicI64::new(0) });
    let limits = Limits::default();
    let tasks = Arc::new(Tasks::new(None));
    let capacity = Arc::new(Capacity::new(&limits, &Rules::default()));
    let cx = Arc::new(Context {
        endings: Endings::new(
            vec![world.clone()],
            Vec::new(),
            None,
            None,
            world.clone(),
            &tasks,
            &capacity,
        ),
        census: Arc::new(super::census::Census::new(Arc::default())),
        refusals: super::refusals::RefusedCounts::default(),
        accepted: std::sync::atomic::AtomicU64::new(0),
        others: std::sync::OnceLock::new(),
        capacity,
        presence: world.clone(),
        pusher: world.clone(),
        clock: world.clone(),
        rules: Rules::default(),
        limits,
        tasks,
        presence_checks: std::sync::atomic::AtomicU64::new(0),
    });
    (world, Wake::new(cx, inbox, Some(1)))
}

fn ada() -> UserId {
    "ada".parse().unwrap()
}

fn popup(n: u128) -> Notification {
    Notification {
        id: NotificationId::new(Uuid::from_u128(n)),
        user_id: ada(),
        kind: "welcome".parse().unwrap(),
        topic: None,
        payload: Payload::new(&n).unwrap(),
        created_at: Timestamp::from_micros(0),
        ttl: Ttl::new(Duration::from_millis(10)),
        trace: None,
    }
}

fn accept(wake: &Arc<Wake>, n: u128) {
    shuttle::future::block_on(wake.accept(popup(n), &Rule::default())).unwrap();
}

fn arrive(world: &World, wake: &Arc<Wake>) -> usize {
    let connection = world.connect();
    wake.arrived(&ada());
    connection
}

/// Runs both at once, to the end, and then what they left to tasks.
fn race(wake: &Wake, one: impl FnOnce() + Send + 'static, other: impl FnOnce() + Send + 'static) {
    let (one, other) = (thread::spawn(one), thread::spawn(other));
    one.join().unwrap();
    other.join().unwrap();
    settle(wake);
}

/// Runs everything that was left to tasks.
fn settle(wake: &Wake) {
    shuttle::future::block_on(wake.cx.tasks.ended());
}

fn all_delivered(world: &World, wake: &Wake, ids: &[u128]) {
    let ended = world.ended();
    assert!(ended.iter().all(|(_, outcome)| *outcome == Outcome::Delivered), "{ended:?}");
    let delivered: Vec<u128> = ended.iter().map(|(id, _)| id.as_uuid().as_u128()).collect();
    let once: BTreeSet<_> = delivered.iter().copied().collect();
    assert_eq!(once.len(), delivered.len(), "one ended twice: {delivered:?}");
    assert_eq!(once, ids.iter().copied().collect(), "one was stranded");
    assert_eq!(wake.held(), Held::default());
}

#[test]
fn arrival_against_accept() {
    check(|| {
        let (world, wake) = start(false);
        let (w, d) = (world.clone(), wake.clone());
        let accepting = wake.clone();
        race(
            &wake,
            move || accept(&accepting, 1),
            move || {
                arrive(&w, &d);
            },
        );
        all_delivered(&world, &wake, &[1]);
    });
}

#[test]
fn two_flushes_of_one_mailbox() {
    check(|| {
        let (world, wake) = start(false);
        for n in 1..=3 {
            accept(&wake, n);
        }
        let [(w1, d1), (w2, d2)] = [(); 2].map(|()| (world.clone(), wake.clone()));
        race(
            &wake,
            move || {
                arrive(&w1, &d1);
            },
            move || {
                arrive(&w2, &d2);
            },
        );
        all_delivered(&world, &wake, &[1, 2, 3]);
        for handed in world.door.lock().connections.iter().flatten() {
            assert!(handed.is_sorted(), "out of order: {handed:?}");
        }
    });
}

#[test]
fn departure_against_acknowledgement() {
    check(|| {
        let (world, wake) = start(true);
        let connection = arrive(&world, &wake);
        accept(&wake, 1);
        accept(&wake, 2);
        settle(&wake);
        assert_eq!(wake.held().in_flight, 2);
        let (w, d, acking) = (world.clone(), wake.clone(), wake.clone());
        race(
            &wake,
            move || {
                w.disconnect(connection);
                d.departed(&ada());
            },
            move || {
                acking.acknowledged(&ada(), popup(1).id);
            },
        );
        assert_eq!(world.ended(), [(popup(1).id, Outcome::Delivered)]);
        assert_eq!((wake.held().waiting, wake.held().in_flight), (1, 0));
        // In either order, the other notification is pushed to the next connection.
        arrive(&world, &wake);
        settle(&wake);
        wake.acknowledged(&ada(), popup(2).id);
        settle(&wake);
        all_delivered(&world, &wake, &[1, 2]);
    });
}

#[test]
fn expiry_against_flush() {
    check(|| {
        let (world, wake) = start(false);
        accept(&wake, 1);
        let (w1, d1) = (world.clone(), wake.clone());
        let (w2, d2) = (world.clone(), wake.clone());
        race(
            &wake,
            move || {
                arrive(&w1, &d1);
            },
            move || {
                w2.now.store(10_000, SeqCst);
                shuttle::future::block_on(d2.end_what_is_due());
            },
        );
        let handed = world.door.lock().connections.iter().flatten().any(|h| !h.is_empty());
        // The flush may have held it at the first check; the timer checks again.
        shuttle::future::block_on(wake.end_what_is_due());
        settle(&wake);
        let ended = world.ended();
        let outcome = if handed { Outcome::Delivered } else { Outcome::Expired };
        assert_eq!(ended, [(popup(1).id, outcome)]);
        assert_eq!(wake.held(), Held::default());
    });
}
