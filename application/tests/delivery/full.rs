//! Bursts larger than any queue, and users who do not read them, in virtual time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use crate::support::{VirtualClock, ada, pass, popup, virtual_clock};
use async_trait::async_trait;
use doorstep_application::delivery::{
    Acceptance, Delivery, Limits, Overflow, Policy, Refused, Rule, Rules, Strategy,
};
use doorstep_domain::ports::{Attempt, Presence, PushError, Pushed, Pusher};
use doorstep_domain::{Notification, NotificationId, Outcome, Timestamp, UserId};

/// One connection with room for a few frames, and a client that reads them.
struct Socket {
    state: Mutex<State>,
    room: usize,
    /// Whether it tells delivery when it has room again.
    tells: bool,
    delivery: OnceLock<Arc<Delivery>>,
}

#[derive(Default)]
struct State {
    there: bool,
    reading: bool,
    frames: VecDeque<NotificationId>,
    handed: Vec<NotificationId>,
    was_full: bool,
}

impl Socket {
    fn start(
        room: usize,
        tells: bool,
        rule: Rule,
    ) -> (Arc<Self>, Arc<Delivery>, Arc<VirtualClock>) {
        let clock = virtual_clock();
        let (state, delivery) = (Mutex::default(), OnceLock::new());
        let socket = Arc::new(Self { state, room, tells, delivery });
        let delivery = Delivery::builder(socket.clone(), socket.clone(), clock.clone())
            .rules(Rules { default: rule, ..Rules::default() })
            .limits(Limits::default())
            .start();
        let delivery = Arc::new(delivery.unwrap());
        assert!(socket.delivery.set(delivery.clone()).is_ok());
        (socket, delivery, clock)
    }

    fn connect(&self, reading: bool) {
        let mut state = self.state.lock().unwrap();
        (state.there, state.reading) = (true, reading);
        drop(state);
        self.delivery.get().unwrap().arrived(&ada());
    }

    /// The client reads one frame and acknowledges it.
    fn read(&self) -> Option<NotificationId> {
        let mut state = self.state.lock().unwrap();
        let id = state.frames.pop_front();
        let delivery = self.delivery.get().unwrap();
        if std::mem::take(&mut state.was_full) && self.tells {
            // Under the lock that the pusher takes: delivery must not push on this call's stack.
            delivery.ready(&ada());
        }
        if let Some(id) = id {
            delivery.acknowledged(&ada(), id);
        }
        id
    }
}

#[async_trait]
impl Presence for Socket {
    async fn is_online(&self, _: &UserId) -> bool {
        self.state.lock().unwrap().there
    }

    async fn is_reading(&self, _: &UserId) -> bool {
        let state = self.state.lock().unwrap();
        state.there && state.reading
    }
}

#[async_trait]
impl Pusher for Socket {
    async fn push(&self, n: &Notification, _: Attempt, _: Timestamp) -> Result<Pushed, PushError> {
        let mut state = self.state.lock().unwrap();
        if !state.there {
            return Ok(Pushed::Nobody);
        }
        if state.handed.contains(&n.id) {
            return Ok(Pushed::InFlight);
        }
        if state.frames.len() >= self.room {
            state.was_full = true;
            return Ok(Pushed::Full);
        }
        state.frames.push_back(n.id);
        state.handed.push(n.id);
        Ok(Pushed::InFlight)
    }
}

fn few(overflow: Overflow) -> Rule {
    Rule { max_per_user: 10, overflow, ..Rule::default() }
}

#[tokio::test(start_paused = true)]
async fn a_burst_larger_than_any_queue_reaches_a_user_who_reads_in_order() {
    for overflow in [Overflow::DropOldest, Overflow::Reject] {
        let (socket, delivery, clock) = Socket::start(4, true, few(overflow));
        socket.connect(true);
        let count = 1_000;
        let mut receipts = Vec::new();
        for n in 0..count {
            receipts.push(delivery.send(popup(n, &clock)).await.unwrap());
        }
        assert_eq!(receipts[3].state(), Acceptance::InFlight);
        assert_eq!(receipts[4].state(), Acceptance::Waiting);
        let mut seen = Vec::new();
        while seen.len() < receipts.len() {
            seen.extend(socket.read().map(|id| id.as_uuid().as_u128()));
            tokio::task::yield_now().await;
        }
        assert!(seen.into_iter().eq(0..count), "out of order");
        for receipt in receipts {
            assert_eq!(receipt.outcome().await, Some(Outcome::Delivered));
        }
        assert_eq!((delivery.ended(Outcome::Dropped), delivery.held().mailboxes), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_call_of_ready_a_full_push_is_repeated() {
    let (socket, delivery, clock) = Socket::start(1, false, Rule::default());
    socket.connect(true);
    for n in 0..3 {
        drop(delivery.send(popup(n, &clock)).await.unwrap());
    }
    for n in 0..3 {
        assert_eq!(socket.read().map(|id| id.as_uuid().as_u128()), Some(n));
        assert_eq!(socket.read(), None, "there was room for one");
        pass(Limits::default().push_retry).await;
    }
    assert_eq!(delivery.ended(Outcome::Delivered), 3);
}

#[tokio::test(start_paused = true)]
async fn entries_behind_a_full_one_that_ends_are_still_pushed() {
    let (socket, delivery, clock) = Socket::start(1, false, Rule::default());
    socket.connect(true);
    let brief = Notification {
        ttl: doorstep_domain::Ttl::new(Duration::from_millis(300)),
        ..popup(1, &clock)
    };
    drop(delivery.send(popup(0, &clock)).await.unwrap());
    drop(delivery.send(brief).await.unwrap());
    drop(delivery.send(popup(2, &clock)).await.unwrap());
    // There is room, nobody calls `ready`, and the entry whose timer would repeat the push ends first.
    socket.state.lock().unwrap().frames.clear();
    pass(Duration::from_millis(400)).await;
    assert_eq!(delivery.ended(Outcome::Expired), 1);
    assert_eq!(socket.read().map(|id| id.as_uuid().as_u128()), Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_user_who_does_not_read_is_bounded_and_entries_in_flight_are_not_evicted() {
    let (socket, delivery, clock) = Socket::start(4, true, few(Overflow::DropOldest));
    socket.connect(false);
    for n in 0..20 {
        drop(delivery.send(popup(n, &clock)).await.unwrap());
    }
    let held = delivery.held();
    assert_eq!((held.in_flight, held.waiting), (4, 10));
    assert_eq!(delivery.ended(Outcome::Dropped), 6);
    let mut seen = Vec::new();
    while delivery.held().mailboxes > 0 {
        seen.extend(socket.read().map(|id| id.as_uuid().as_u128()));
        tokio::task::yield_now().await;
    }
    assert!(seen.into_iter().eq((0..4).chain(10..20)), "the oldest that waited made room");

    let (socket, delivery, clock) = Socket::start(4, true, few(Overflow::Reject));
    socket.connect(false);
    for n in 0..14 {
        drop(delivery.send(popup(n, &clock)).await.unwrap());
    }
    let refused = delivery.send(popup(14, &clock)).await;
    assert!(matches!(refused.unwrap_err().why, Refused::MailboxFull));
    // A refused notification is not counted against the node.
    assert_eq!(delivery.held().bytes, 14 * "\"hello\"".len());
}

#[tokio::test(start_paused = true)]
async fn poll_keeps_a_notification_that_finds_no_room() {
    let rule = Rule { policy: Policy::Deferred(Strategy::Poll), ..Rule::default() };
    let (socket, delivery, clock) = Socket::start(1, false, rule);
    socket.connect(true);
    for n in 0..3 {
        drop(delivery.send(popup(n, &clock)).await.unwrap());
    }
    assert_eq!(delivery.ended(Outcome::Delivered), 1);
    for delivered in 2..4 {
        assert!(socket.read().is_some());
        pass(Duration::from_secs(1)).await;
        assert_eq!(delivery.ended(Outcome::Delivered), delivered.min(3));
    }
}

#[tokio::test(start_paused = true)]
async fn poll_too_drops_nothing_while_the_user_reads() {
    let rule = Rule {
        policy: Policy::Deferred(Strategy::Poll),
        max_per_user: 2,
        ttl: doorstep_domain::Ttl::from_secs(600),
        ..Rule::default()
    };
    let (socket, delivery, clock) = Socket::start(1, false, rule);
    socket.connect(true);
    for n in 0..10 {
        drop(delivery.send(popup(n, &clock)).await.unwrap());
    }
    for _ in 0..10 {
        assert!(socket.read().is_some());
        pass(Duration::from_secs(1)).await;
    }
    assert_eq!([Outcome::Delivered, Outcome::Dropped].map(|end| delivery.ended(end)), [10, 0]);
    socket.connect(false);
    for n in 10..20 {
        drop(delivery.send(popup(n, &clock)).await.unwrap());
    }
    assert_eq!(delivery.ended(Outcome::Dropped), 7, "one in the connection, two that wait");
}

/// 60,000 at once to one user: the cost of a step must not grow with their number.
#[tokio::test(start_paused = true)]
async fn sixty_thousand_at_once_are_delivered_in_order() {
    let clock = virtual_clock();
    let socket = Arc::new(Unbounded::default());
    let delivery = Delivery::builder(socket.clone(), socket.clone(), clock.clone());
    let delivery = delivery.start().unwrap();
    delivery.arrived(&ada());
    let count = 60_000;
    for n in 0..count {
        drop(delivery.send(popup(n, &clock)).await.unwrap());
    }
    assert_eq!(delivery.held().in_flight as u128, count);
    let handed = std::mem::take(&mut *socket.0.lock().unwrap());
    assert!(handed.iter().map(|id| id.as_uuid().as_u128()).eq(0..count));
    for id in handed {
        delivery.acknowledged(&ada(), id);
    }
    assert_eq!(u128::from(delivery.ended(Outcome::Delivered)), count);
}

/// A connection that takes everything.
#[derive(Default)]
struct Unbounded(Mutex<Vec<NotificationId>>);

#[async_trait]
impl Presence for Unbounded {
    async fn is_online(&self, _: &UserId) -> bool {
        true
    }
}

#[async_trait]
impl Pusher for Unbounded {
    async fn push(&self, n: &Notification, _: Attempt, _: Timestamp) -> Result<Pushed, PushError> {
        self.0.lock().unwrap().push(n.id);
        Ok(Pushed::InFlight)
    }
}

/// A user who is away, and whose registry does not say whether they read.
struct Silent;

#[async_trait]
impl Presence for Silent {
    async fn is_online(&self, _: &UserId) -> bool {
        false
    }

    async fn is_reading(&self, _: &UserId) -> bool {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_sender_who_gives_up_at_a_full_mailbox_takes_no_place_of_the_node() {
    for strategy in [Strategy::Wake, Strategy::Poll] {
        let clock = virtual_clock();
        let rule = Rule { policy: Policy::Deferred(strategy), max_per_user: 2, ..Rule::default() };
        let pusher = Arc::new(Unbounded::default());
        let delivery = Delivery::builder(Arc::new(Silent), pusher, clock.clone())
            .rules(Rules { default: rule, ..Rules::default() })
            .limits(Limits { max_pending: 3, ..Limits::default() })
            .start()
            .unwrap();
        for n in 0..2 {
            drop(delivery.send(popup(n, &clock)).await.unwrap());
        }
        let waits = delivery.send(popup(2, &clock));
        assert!(tokio::time::timeout(Duration::from_secs(1), waits).await.is_err());
        let for_bob = Notification { user_id: "bob".parse().unwrap(), ..popup(3, &clock) };
        assert!(delivery.send(for_bob).await.is_ok(), "{strategy:?}");
    }
}
