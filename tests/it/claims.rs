//! Running nodes take up what a stopped node left: in virtual time, on a store in memory. `handover` tests the
//! same with two processes on PostgreSQL.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use doorstep_application::delivery::{Builder, Delivery, Limits, OnExpiry, Rule, Rules};
use doorstep_domain::ports::{
    Attempt, Clock, Handover, Inbox, MockHandover, Presence, PushError, Pushed, Pusher,
};
use doorstep_domain::{Notification, NotificationId, Outcome, Payload, Timestamp, Ttl, UserId};
use doorstep_tests::memory::Memory;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

const STOP: Duration = Duration::from_secs(10);
/// After this time a node has noticed what was left.
const NOTICED: Duration = Duration::from_millis(1_500);

/// The connections of one node, none of which acknowledges, and the clock.
struct Door {
    start: Instant,
    state: Mutex<(BTreeSet<UserId>, Vec<u128>)>,
}

impl Door {
    fn pushed(&self) -> Vec<u128> {
        self.state.lock().unwrap().1.clone()
    }
}

impl Clock for Door {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000) + self.start.elapsed()
    }
}

#[async_trait]
impl Presence for Door {
    async fn is_online(&self, user: &UserId) -> bool {
        self.state.lock().unwrap().0.contains(user)
    }

    async fn is_reading(&self, user: &UserId) -> bool {
        self.is_online(user).await
    }
}

#[async_trait]
impl Pusher for Door {
    async fn push(&self, n: &Notification, _: Attempt, _: Timestamp) -> Result<Pushed, PushError> {
        let mut state = self.state.lock().unwrap();
        if !state.0.contains(&n.user_id) {
            return Ok(Pushed::Nobody);
        }
        state.1.push(n.id.as_uuid().as_u128());
        Ok(Pushed::Written)
    }
}

/// One node.
struct Node {
    door: Arc<Door>,
    delivery: Delivery,
}

impl Node {
    fn on(store: &Arc<Memory>, start: Instant, with: impl FnOnce(Builder) -> Builder) -> Self {
        let door = Arc::new(Door { start, state: Mutex::default() });
        let builder = Delivery::builder(door.clone(), door.clone(), door.clone());
        let delivery = with(builder.handover(store.clone())).start().unwrap();
        Self { door, delivery }
    }

    fn arrives(&self, name: &str) {
        self.door.state.lock().unwrap().0.insert(user(name));
        self.delivery.arrived(&user(name));
    }

    async fn send(&self, number: u128, to: &str, topic: Option<&str>) {
        let notification = Notification {
            id: NotificationId::new(Uuid::from_u128(number)),
            user_id: user(to),
            kind: "news".parse().unwrap(),
            topic: topic.map(|topic| topic.parse().unwrap()),
            payload: Payload::new(&"hello").unwrap(),
            created_at: self.door.now(),
            ttl: None,
            trace: None,
        };
        drop(self.delivery.send(notification).await.unwrap());
        sleep(Duration::from_millis(1)).await;
    }
}

fn user(name: &str) -> UserId {
    name.parse().unwrap()
}

/// Two nodes. The first is stopped while notifications wait for Ada and Bob.
async fn stopped_and_running() -> (Arc<Memory>, Node) {
    let (store, start) = (Arc::new(Memory::default()), Instant::now());
    let [first, second] = [(); 2].map(|()| Node::on(&store, start, |builder| builder));
    for number in 1..=3 {
        first.send(number, "ada", None).await;
        first.send(number + 10, "bob", None).await;
    }
    second.arrives("bob");
    assert_eq!(first.delivery.stop(STOP).await.handed_over, 6);
    (store, second)
}

#[tokio::test(start_paused = true)]
async fn a_running_node_serves_those_who_arrive_and_those_who_are_there() {
    let (store, node) = stopped_and_running().await;
    sleep(NOTICED).await;
    assert_eq!(node.door.pushed(), [11, 12, 13], "Bob was already connected");
    node.arrives("ada");
    sleep(Duration::from_millis(1)).await;
    assert_eq!(node.door.pushed()[3..], [1, 2, 3], "Ada has connected");
    assert_eq!(node.delivery.ended(Outcome::Delivered), 6);
    assert_eq!(store.look(0, 9).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_user_who_arrives_before_the_node_notices_is_served_too() {
    let (_store, node) = stopped_and_running().await;
    node.arrives("ada");
    sleep(NOTICED).await;
    let pushed = node.door.pushed().into_iter().filter(|number| *number < 10).collect::<Vec<_>>();
    assert_eq!(pushed, [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn left_notifications_keep_their_order_among_newer_ones() {
    let (store, start) = (Arc::new(Memory::default()), Instant::now());
    let [first, second] = [(); 2].map(|()| Node::on(&store, start, |builder| builder));
    first.send(1, "ada", None).await;
    second.send(2, "ada", Some("cart")).await;
    first.send(3, "ada", Some("cart")).await;
    first.send(4, "ada", Some("order")).await;
    second.send(5, "ada", Some("order")).await;
    second.send(6, "ada", None).await;
    first.delivery.stop(STOP).await;
    sleep(NOTICED).await;
    second.arrives("ada");
    sleep(Duration::from_millis(1)).await;
    // The newer notification of a topic stays, whichever node accepted it.
    assert_eq!(second.door.pushed(), [1, 3, 5, 6]);
    assert_eq!(second.delivery.ended(Outcome::Replaced), 2);
    assert_eq!(second.delivery.held().bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn a_left_notification_that_expires_ends_once() {
    let (store, start) = (Arc::new(Memory::default()), Instant::now());
    let promote = Rule { on_expiry: OnExpiry::Inbox, ..Rule::default() };
    let rules = || Rules {
        kinds: [("news".parse().unwrap(), promote)].into(),
        default: Rule { ttl: Ttl::from_secs(60), ..Rule::default() },
    };
    for (inbox, outcome) in [(false, Outcome::Expired), (true, Outcome::Promoted)] {
        let node = || {
            Node::on(&store, start, |builder| {
                if inbox { builder.rules(rules()).inbox(store.clone()) } else { builder }
            })
        };
        let [first, second, third] = [node(), node(), node()];
        for number in 1..=100 {
            first.send(number, "ada", None).await;
        }
        assert_eq!(first.delivery.stop(STOP).await.handed_over, 100);
        sleep(Duration::from_secs(62)).await;
        let ended = [&second, &third].map(|node| node.delivery.ended(outcome));
        assert_eq!(ended.iter().sum::<u64>(), 100, "{ended:?}");
        assert_eq!(store.look(0, 9).await.unwrap(), []);
        let kept = store.undelivered(&user("ada"), 999).await.unwrap().len();
        assert_eq!(kept, if inbox { 100 } else { 0 });
    }
}

#[tokio::test(start_paused = true)]
async fn left_notifications_stay_while_nodes_are_full() {
    let (store, start) = (Arc::new(Memory::default()), Instant::now());
    let first = Node::on(&store, start, |builder| builder);
    for (number, name) in (1..).zip(["ada", "bob", "cid", "dan", "eve"]) {
        first.send(number, name, None).await;
    }
    first.delivery.stop(STOP).await;
    for limits in [
        Limits { max_pending: 2, ..Limits::default() },
        Limits { max_pending_bytes: 20, ..Limits::default() },
    ] {
        let node = Node::on(&store, start, |builder| builder.limits(limits));
        assert_eq!(
            node.delivery.take_up().await.unwrap(),
            if limits.max_pending == 2 { 2 } else { 5 }
        );
        assert_eq!(node.delivery.held().waiting, 2);
        assert_eq!(store.look(0, 9).await.unwrap().len(), 3, "nothing is lost");
        // This includes those for which there is no room yet.
        for name in ["ada", "bob", "cid", "dan", "eve"] {
            node.arrives(name);
        }
        sleep(Duration::from_secs(5)).await;
        assert_eq!(node.door.pushed().into_iter().collect::<BTreeSet<_>>(), (1..=5).collect());
        assert_eq!(node.delivery.ended(Outcome::Rejected), 0);
        // Leaves the same five for the next round.
        let again = Node::on(&store, start, |builder| builder);
        for (number, name) in (1..).zip(["ada", "bob", "cid", "dan", "eve"]) {
            again.send(number, name, None).await;
        }
        again.delivery.stop(STOP).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_kind_keeps_its_own_limit_and_counts_nothing_twice() {
    let (store, start) = (Arc::new(Memory::default()), Instant::now());
    let first = Node::on(&store, start, |builder| builder);
    let rule = Rule { max_pending: 2, ..Rule::default() };
    let rules = Rules { kinds: [("news".parse().unwrap(), rule)].into(), ..Rules::default() };
    let second = Node::on(&store, start, |builder| builder.rules(rules));
    for number in 1..=5 {
        first.send(number, "ada", None).await;
    }
    // The sender also tried the second node, with the same id.
    second.send(1, "ada", None).await;
    first.delivery.stop(STOP).await;
    sleep(NOTICED).await;
    second.arrives("ada");
    sleep(Duration::from_secs(10)).await;
    let mut pushed = second.door.pushed();
    pushed.sort_unstable();
    assert_eq!(pushed, [1, 2, 3, 4, 5], "none twice, none lost");
    assert_eq!(second.delivery.ended(Outcome::Rejected), 0);
    // If anything were counted twice, the limit would reject these.
    for number in [6, 7] {
        second.send(number, "bob", None).await;
    }
    assert_eq!(second.delivery.held().waiting, 2);
    assert_eq!(second.delivery.stop(STOP).await.handed_over, 2);
    assert_eq!(second.delivery.held().bytes, 0);
}

/// An arrival does not query the store while nothing is left. Where no other node can leave anything, there is
/// no periodic check either.
#[tokio::test(start_paused = true)]
async fn nothing_is_asked_while_nothing_is_left() {
    for shared in [true, false] {
        let mut store = MockHandover::new();
        store.expect_is_shared().return_const(shared);
        store.expect_take().returning(|_| Ok(Vec::new()));
        let looks = if shared { 50..70 } else { 0..1 };
        store.expect_look().times(looks).returning(|_, _| Ok(Vec::new()));
        let door = Arc::new(Door { start: Instant::now(), state: Mutex::default() });
        let builder = Delivery::builder(door.clone(), door.clone(), door.clone());
        let node = Node { delivery: builder.handover(Arc::new(store)).start().unwrap(), door };
        node.delivery.take_up().await.unwrap();
        for name in ["ada", "bob"] {
            sleep(Duration::from_secs(30)).await;
            node.arrives(name);
        }
    }
}
