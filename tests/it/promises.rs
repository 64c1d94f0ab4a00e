//! What delivery promises (DESIGN section 3), a test each, over real sockets and a real store. What a
//! simulation of many schedules shows is not shown again here: these show that it arrives at the wire.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use doorstep_application::delivery::{
    Acceptance, Limits, OnExpiry, Overflow, Policy, Receipt, Refused, Rule, Rules, Strategy,
};
use doorstep_domain::ports::{EventHandler, HandlerError};
use doorstep_domain::{
    DomainEvent, Ended, Notification, NotificationId, Outcome, Payload, PayloadError, Ttl, UserId,
};
use doorstep_tests::client::{Socket, User};
use serde_json::Value;
use uuid::Uuid;

use crate::node::{Node, Options, eventually};

const ACKS: &str = "doorstep.v1";
const PLAIN: &str = "doorstep.plain.v1";
/// Soon enough to be waited for.
const SOON: Duration = Duration::from_millis(50);

/// A node on which nobody is notified of anything but by the test.
fn quiet() -> Options {
    Options { notifications: false, ..Options::default() }
}

/// The same with this rule for everything.
fn ruled(default: Rule) -> Options {
    Options { rules: Rules { default, ..Rules::default() }, ..quiet() }
}

/// A user, and their id as delivery knows it.
async fn registered(node: &Node, name: &str) -> (User, UserId) {
    let user = User::register(&node.url(), name).await;
    let id = user.id.parse().unwrap();
    (user, id)
}

/// Connects, and waits until the node knows.
async fn connected(node: &Node, user: &User, subprotocol: &str) -> Socket {
    let before = node.connections.stats().connections;
    let socket = user.connect(subprotocol).await;
    eventually("it is there", async || node.connections.stats().connections > before).await;
    socket
}

/// Breaks the connection off, and waits until the node knows.
async fn gone(node: &Node, socket: Socket) {
    let before = node.connections.stats().connections;
    drop(socket);
    eventually("it is gone", async || node.connections.stats().connections < before).await;
}

async fn send(node: &Node, notification: Notification) -> Receipt {
    node.delivery.send(notification).await.unwrap()
}

fn of_kind(kind: &str, notification: Notification) -> Notification {
    Notification { kind: kind.parse().unwrap(), ..notification }
}

fn with_ttl(ttl: Duration, notification: Notification) -> Notification {
    Notification { ttl: Some(Ttl::new(ttl).unwrap()), ..notification }
}

fn with_topic(topic: &str, notification: Notification) -> Notification {
    Notification { topic: Some(topic.parse().unwrap()), ..notification }
}

fn id_of(frame: &Value) -> NotificationId {
    frame["id"].as_str().unwrap().parse().unwrap()
}

/// The ids of the next so many notifications.
async fn ids(socket: &mut Socket, count: usize) -> Vec<NotificationId> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(id_of(&socket.notification().await));
    }
    ids
}

async fn nothing_waits(node: &Node) {
    eventually("nothing waits", async || node.delivery.held().mailboxes == 0).await;
    let held = node.delivery.held();
    assert_eq!((held.waiting, held.in_flight, held.bytes), (0, 0, 0));
}

/// Writes down how notifications end.
#[derive(Default)]
struct Witness(Mutex<Vec<Ended>>);

impl Witness {
    fn outcomes(&self, id: NotificationId) -> Vec<Outcome> {
        let ended = self.0.lock().unwrap();
        ended.iter().filter(|end| end.id == id).map(|end| end.outcome).collect()
    }
}

#[async_trait]
impl EventHandler for Witness {
    fn name(&self) -> &'static str {
        "witness"
    }

    fn wants(&self, event: &DomainEvent) -> bool {
        matches!(event, DomainEvent::NotificationEnded(_))
    }

    async fn handle(&self, event: &DomainEvent) -> Result<(), HandlerError> {
        if let DomainEvent::NotificationEnded(ended) = event {
            self.0.lock().unwrap().push(ended.clone());
        }
        Ok(())
    }
}

#[tokio::test]
async fn promise_1_each_notification_ends_in_one_outcome_that_can_be_seen() {
    let rule = Rule { max_per_user: 1, ..Rule::default() };
    let rules = Rules {
        default: rule,
        kinds: [
            ("picky".parse().unwrap(), Rule { overflow: Overflow::Reject, ..rule }),
            ("kept".parse().unwrap(), Rule { on_expiry: OnExpiry::Inbox, ..rule }),
        ]
        .into(),
    };
    let witness = Arc::new(Witness::default());
    let node = Node::with(Options { rules, handler: Some(witness.clone()), ..quiet() }).await;
    let (ada, ada_id) = registered(&node, "ada").await;
    // Nothing has to be made beforehand for somebody to be sent to.
    let stranger = || UserId::from(Uuid::now_v7());

    let mut ends = Vec::new();
    let mut socket = connected(&node, &ada, ACKS).await;
    let delivered = send(&node, node.notification(&ada_id, 3)).await;
    assert_eq!(delivered.state(), Acceptance::InFlight);
    let frame = socket.notification().await;
    socket.acknowledge(&frame).await;
    ends.push((delivered, Outcome::Delivered));

    let expired = send(&node, with_ttl(SOON, node.notification(&stranger(), 3))).await;
    assert_eq!(expired.state(), Acceptance::Waiting);
    ends.push((expired, Outcome::Expired));
    let now_or_never = with_ttl(Duration::ZERO, node.notification(&stranger(), 3));
    let never = send(&node, now_or_never).await;
    assert_eq!(never.state(), Acceptance::Ended(Outcome::Expired));
    ends.push((never, Outcome::Expired));
    let promoted = with_ttl(SOON, of_kind("kept", node.notification(&stranger(), 3)));
    ends.push((send(&node, promoted).await, Outcome::Promoted));

    let (topical, crowded) = (stranger(), stranger());
    let first = send(&node, with_topic("t", node.notification(&topical, 3))).await;
    let second = with_ttl(SOON, with_topic("t", node.notification(&topical, 3)));
    ends.push((first, Outcome::Replaced));
    ends.push((send(&node, second).await, Outcome::Expired));
    let oldest = send(&node, node.notification(&crowded, 3)).await;
    let latest = send(&node, with_ttl(SOON, node.notification(&crowded, 3))).await;
    ends.push((oldest, Outcome::Dropped));
    let rejected = of_kind("picky", node.notification(&crowded, 3));
    let rejected_id = rejected.id;
    assert!(matches!(node.delivery.send(rejected).await, Err(Refused::MailboxFull)));
    ends.push((latest, Outcome::Expired));

    let mut expected = vec![(rejected_id, Outcome::Rejected)];
    for (receipt, outcome) in ends {
        expected.push((receipt.id(), outcome));
        assert_eq!(receipt.outcome().await, Some(outcome));
    }
    nothing_waits(&node).await;
    eventually("all events", async || witness.0.lock().unwrap().len() >= expected.len()).await;
    let text = node.request(reqwest::Method::GET, "/metrics").send().await.unwrap();
    assert_eq!(text.headers()["content-type"], "text/plain; version=0.0.4");
    let text = text.text().await.unwrap();
    for (id, outcome) in &expected {
        assert_eq!(witness.outcomes(*id), [*outcome], "one event");
        let times = expected.iter().filter(|(_, other)| other == outcome).count();
        assert_eq!(node.delivery.ended(*outcome), times as u64, "{outcome}");
        let counted = |kind| {
            let name = format!(
                "doorstep_notifications_ended_total{{kind=\"{kind}\",outcome=\"{outcome}\"}} "
            );
            let line = text.lines().find_map(|line| line.strip_prefix(&name));
            line.map_or(0, |count| count.parse().unwrap())
        };
        let all: usize = ["test", "picky", "kept"].into_iter().map(counted).sum();
        assert_eq!(all, times, "{outcome} in\n{text}");
    }
}

#[tokio::test]
async fn promise_2_who_is_there_at_any_moment_gets_it() {
    let node = Arc::new(Node::with(quiet()).await);
    let (ada, id) = registered(&node, "ada").await;
    // Whichever comes first, in every interleaving that a hundred tries meet.
    for round in 0..100_u32 {
        let sent = node.notification(&id, 3);
        let sent_id = sent.id;
        let sending = {
            let node = node.clone();
            tokio::spawn(async move {
                for _ in 0..(round % 10) * 7 {
                    tokio::task::yield_now().await;
                }
                node.delivery.send(sent).await.unwrap().outcome().await
            })
        };
        let mut socket = ada.connect(PLAIN).await;
        assert_eq!(id_of(&socket.notification().await), sent_id);
        assert_eq!(sending.await.unwrap(), Some(Outcome::Delivered));
        gone(&node, socket).await;
    }

    // And never after its TTL.
    let late = send(&node, with_ttl(SOON, node.notification(&id, 3))).await;
    assert_eq!(late.outcome().await, Some(Outcome::Expired));
    let mut socket = connected(&node, &ada, PLAIN).await;
    let live = send(&node, node.notification(&id, 3)).await;
    assert_eq!(ids(&mut socket, 1).await, [live.id()]);
    assert!(socket.round_trip().await.is_empty());
}

#[tokio::test]
async fn promise_3_order_is_kept_through_reconnects() {
    let node = Node::with(quiet()).await;
    let (ada, id) = registered(&node, "ada").await;
    let (mut order, mut first_pushed) = (Vec::new(), Vec::new());
    for round in 0.. {
        // For some rounds more is sent, before she comes and while she is there.
        let more = async |order: &mut Vec<_>| {
            for _ in 0..if round < 20 { 3 } else { 0 } {
                let receipt = send(&node, node.notification(&id, 3)).await;
                order.push(receipt.id());
            }
        };
        more(&mut order).await;
        let mut socket = connected(&node, &ada, ACKS).await;
        more(&mut order).await;
        // Some are acknowledged, some are only seen, and then the line goes dead.
        let mut frames = socket.round_trip().await;
        for frame in frames.iter().take(4) {
            socket.acknowledge(&serde_json::from_str(frame).unwrap()).await;
        }
        frames.extend(socket.round_trip().await);
        gone(&node, socket).await;

        let seen: Vec<_> =
            frames.iter().map(|f| id_of(&serde_json::from_str(f).unwrap())).collect();
        let places = seen.iter().map(|id| order.iter().position(|sent| sent == id));
        assert!(places.is_sorted(), "also what comes again comes in order");
        first_pushed
            .extend(seen.into_iter().filter(|id| !first_pushed.contains(id)).collect::<Vec<_>>());
        if node.delivery.held().mailboxes == 0 && round >= 20 {
            break;
        }
    }
    assert_eq!(first_pushed, order);
}

#[tokio::test]
async fn promise_4_what_is_not_acknowledged_comes_again_in_order() {
    let node = Node::with(ruled(Rule { ack_timeout: SOON, ..Rule::default() })).await;
    let (ada, id) = registered(&node, "ada").await;
    let mut receipts = Vec::new();
    for _ in 0..3 {
        receipts.push(send(&node, node.notification(&id, 3)).await);
    }
    let order: Vec<_> = receipts.iter().map(Receipt::id).collect();

    // The ack timeout: on the same connection, again and again.
    let mut socket = connected(&node, &ada, ACKS).await;
    assert_eq!(ids(&mut socket, 3).await, order);
    let again = ids(&mut socket, 6).await;
    assert_eq!(again.iter().copied().collect::<HashSet<_>>(), order.iter().copied().collect());
    // The end of the connection, in the moment between frame and ack.
    gone(&node, socket).await;
    let mut socket = connected(&node, &ada, ACKS).await;
    let mut left = order.clone();
    while !left.is_empty() {
        let frame = socket.notification().await;
        if left.first() == Some(&id_of(&frame)) {
            left.remove(0);
            socket.acknowledge(&frame).await;
        }
    }
    for receipt in receipts {
        assert_eq!(receipt.outcome().await, Some(Outcome::Delivered));
    }
    // What is acknowledged does not come again.
    gone(&node, socket).await;
    let mut socket = connected(&node, &ada, ACKS).await;
    let last = send(&node, node.notification(&id, 3)).await;
    assert_eq!(ids(&mut socket, 1).await, [last.id()]);
    gone(&node, socket).await;

    // A client that does not acknowledge has it when it is written.
    let mut socket = connected(&node, &ada, PLAIN).await;
    assert_eq!(last.outcome().await, Some(Outcome::Delivered));
    socket.notification().await;
    assert!(socket.round_trip().await.is_empty());
    nothing_waits(&node).await;
}

#[tokio::test]
async fn promise_4_redelivery_ends_with_the_ttl() {
    let node = Node::with(ruled(Rule { ack_timeout: SOON, ..Rule::default() })).await;
    let (ada, id) = registered(&node, "ada").await;
    let mut socket = connected(&node, &ada, ACKS).await;
    let sent = send(&node, with_ttl(SOON * 6, node.notification(&id, 3))).await;
    assert_eq!(ids(&mut socket, 2).await, [sent.id(); 2]);
    assert_eq!(sent.outcome().await, Some(Outcome::Expired));
    socket.round_trip().await;
    assert!(socket.round_trip().await.is_empty(), "nothing comes after the end");
    nothing_waits(&node).await;
}

#[tokio::test]
async fn promise_5_the_first_ack_of_several_connections_ends_it() {
    let node = Node::with(quiet()).await;
    let (ada, id) = registered(&node, "ada").await;
    let mut tabs = Vec::new();
    for _ in 0..3 {
        tabs.push(connected(&node, &ada, ACKS).await);
    }
    let sent = send(&node, node.notification(&id, 3)).await;
    let mut frames = Vec::new();
    for tab in &mut tabs {
        frames.push(tab.notification().await);
    }
    assert!(frames.iter().all(|frame| id_of(frame) == sent.id()));
    tabs[1].acknowledge(&frames[1]).await;
    assert_eq!(sent.outcome().await, Some(Outcome::Delivered));
    nothing_waits(&node).await;
    // No second push: not to those that had it, nor to one that comes now, also when others go.
    gone(&node, tabs.remove(0)).await;
    let mut latecomer = connected(&node, &ada, ACKS).await;
    for socket in tabs.iter_mut().chain([&mut latecomer]) {
        assert!(socket.round_trip().await.is_empty());
    }
    assert_eq!(node.delivery.ended(Outcome::Delivered), 1);
}

#[tokio::test]
async fn promise_5_a_connection_that_had_it_does_not_get_it_again_for_anothers_sake() {
    let node = Node::with(quiet()).await;
    let (ada, id) = registered(&node, "ada").await;
    let mut first = connected(&node, &ada, ACKS).await;
    let sent = send(&node, node.notification(&id, 3)).await;
    let frame = first.notification().await;
    let mut second = connected(&node, &ada, ACKS).await;
    assert_eq!(id_of(&second.notification().await), sent.id(), "it may be the one that answers");
    assert!(first.round_trip().await.is_empty());
    first.acknowledge(&frame).await;
    assert_eq!(sent.outcome().await, Some(Outcome::Delivered));
}

#[tokio::test]
async fn promise_6_a_newer_one_of_the_topic_replaces_the_one_that_waits() {
    let node = Node::with(quiet()).await;
    let (ada, id) = registered(&node, "ada").await;
    let price = |topic| with_topic(topic, node.notification(&id, 3));
    let (old, other, new) = (price("price/A"), price("price/B"), price("price/A"));
    let old = send(&node, old).await;
    let other = send(&node, other).await;
    let new = send(&node, new).await;
    assert_eq!(old.outcome().await, Some(Outcome::Replaced));
    let mut socket = connected(&node, &ada, PLAIN).await;
    let frames = [socket.notification().await, socket.notification().await];
    let seen: HashSet<_> = frames.iter().map(id_of).collect();
    assert_eq!(seen, HashSet::from([other.id(), new.id()]));
    assert!(frames.iter().all(|frame| frame["topic"].as_str().unwrap().starts_with("price/")));
    assert_eq!(new.outcome().await, Some(Outcome::Delivered));
    // One that has been delivered is not replaced any more: both are seen.
    let next = send(&node, price("price/A")).await;
    assert_eq!(ids(&mut socket, 1).await, [next.id()]);
    assert_eq!(node.delivery.ended(Outcome::Replaced), 1);
}

#[tokio::test]
async fn promise_7_a_mailbox_is_bounded_and_says_so() {
    let drop_oldest = Rule { max_per_user: 3, ..Rule::default() };
    let kinds = [("picky".parse().unwrap(), Rule { overflow: Overflow::Reject, ..drop_oldest })];
    let rules = Rules { default: drop_oldest, kinds: kinds.into() };
    let node = Node::with(Options { rules, ..quiet() }).await;
    let (ada, id) = registered(&node, "ada").await;
    let mut receipts = Vec::new();
    for _ in 0..5 {
        receipts.push(send(&node, node.notification(&id, 3)).await);
    }
    let refused = node.delivery.send(of_kind("picky", node.notification(&id, 3))).await;
    assert!(matches!(refused, Err(Refused::MailboxFull)));
    let newest: Vec<_> = receipts.iter().skip(2).map(Receipt::id).collect();
    for dropped in receipts.drain(..2) {
        assert_eq!(dropped.outcome().await, Some(Outcome::Dropped));
    }
    let mut socket = connected(&node, &ada, PLAIN).await;
    assert_eq!(ids(&mut socket, 3).await, newest);
    nothing_waits(&node).await;
}

#[tokio::test]
async fn promise_7_a_node_is_bounded_in_number_and_bytes() {
    for (limits, fit) in [
        (Limits { max_pending: 3, ..Limits::default() }, 3),
        // A payload of 98 letters is 100 bytes of JSON.
        (Limits { max_pending_bytes: 250, ..Limits::default() }, 2),
    ] {
        let node = Node::with(Options { limits, ..quiet() }).await;
        let (ada, id) = registered(&node, "ada").await;
        for _ in 0..fit {
            drop(send(&node, node.notification(&id, 98)).await);
        }
        assert_eq!(node.delivery.held().bytes, fit * 100);
        let refused = node.delivery.send(node.notification(&id, 98)).await;
        assert!(matches!(refused, Err(Refused::NodeFull)));
        assert_eq!(node.delivery.ended(Outcome::Rejected), 1);
        // What is delivered makes room.
        let mut socket = connected(&node, &ada, PLAIN).await;
        ids(&mut socket, fit).await;
        nothing_waits(&node).await;
        drop(send(&node, node.notification(&id, 98)).await);
        ids(&mut socket, 1).await;
    }
}

#[tokio::test]
async fn a_payload_over_32_kib_is_refused_where_it_is_made() {
    let node = Node::with(quiet()).await;
    let (ada, id) = registered(&node, "ada").await;
    let over = Payload::new(&"x".repeat(Payload::MAX_BYTES - 1)).unwrap_err();
    assert_eq!(over, PayloadError::TooLarge(Payload::MAX_BYTES + 1));
    assert!(over.to_string().contains("at most 32768 bytes"), "{over}");
    // The largest that is taken arrives whole.
    let mut socket = connected(&node, &ada, ACKS).await;
    drop(send(&node, node.notification(&id, Payload::MAX_BYTES - 2)).await);
    let frame = socket.notification().await;
    assert_eq!(frame["payload"].as_str().unwrap().len(), Payload::MAX_BYTES - 2);
}

#[tokio::test]
async fn a_forged_ack_changes_nothing() {
    let node = Node::with(quiet()).await;
    let (ada, ada_id) = registered(&node, "ada").await;
    let (eve, eve_id) = registered(&node, "eve").await;
    let mut adas = connected(&node, &ada, ACKS).await;
    let mut eves = connected(&node, &eve, ACKS).await;
    let sent = send(&node, node.notification(&ada_id, 3)).await;
    let frame = adas.notification().await;
    // Another user's, one that nobody has, and what is no id at all.
    let unknown = serde_json::json!({ "id": Uuid::now_v7().to_string() });
    for forged in [&frame, &unknown] {
        eves.acknowledge(forged).await;
        assert!(eves.round_trip().await.is_empty(), "and nothing is said about it");
    }
    assert_eq!(node.delivery.held().in_flight, 1);
    assert_eq!(node.delivery.ended(Outcome::Delivered), 0);
    // The real one counts once, however often it is said.
    adas.acknowledge(&frame).await;
    adas.acknowledge(&frame).await;
    assert_eq!(sent.outcome().await, Some(Outcome::Delivered));
    adas.round_trip().await;
    assert_eq!(node.delivery.ended(Outcome::Delivered), 1);
    // Both are still welcome.
    for (socket, id) in [(&mut adas, &ada_id), (&mut eves, &eve_id)] {
        let next = send(&node, node.notification(id, 3)).await;
        assert_eq!(ids(socket, 1).await, [next.id()]);
    }
}

/// How often the only thread of this runtime woke up during half an hour in which 100 notifications waited.
async fn wake_ups(strategy: Strategy) -> u64 {
    let rule = Rule {
        policy: Policy::Deferred(strategy),
        ttl: Ttl::from_secs(60 * 60),
        ..Rule::default()
    };
    let delivery = doorstep_application::delivery::Delivery::builder(
        Arc::new(NobodyIsThere),
        Arc::new(NobodyIsThere),
        Arc::new(PausedClock(tokio::time::Instant::now())),
    )
    .rules(Rules { default: rule, ..Rules::default() })
    .start();
    for _ in 0..100 {
        let notification = Notification {
            id: NotificationId::new(Uuid::now_v7()),
            user_id: UserId::from(Uuid::now_v7()),
            kind: "test".parse().unwrap(),
            topic: None,
            payload: Payload::new("x").unwrap(),
            created_at: doorstep_domain::Timestamp::default(),
            ttl: None,
        };
        drop(delivery.send(notification).await.unwrap());
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let metrics = tokio::runtime::Handle::current().metrics();
    let before = (metrics.worker_park_count(0), delivery.presence_checks());
    tokio::time::sleep(Duration::from_mins(30)).await;
    let after = (metrics.worker_park_count(0), delivery.presence_checks());
    assert_eq!(delivery.held().waiting, 100);
    (after.0 - before.0) + (after.1 - before.1)
}

struct NobodyIsThere;

#[async_trait]
impl doorstep_domain::ports::Presence for NobodyIsThere {
    async fn is_online(&self, _: &UserId) -> bool {
        false
    }
}

#[async_trait]
impl doorstep_domain::ports::Pusher for NobodyIsThere {
    async fn push(
        &self,
        _: &Notification,
        _: doorstep_domain::ports::Attempt,
        _: doorstep_domain::Timestamp,
    ) -> Result<doorstep_domain::ports::Pushed, doorstep_domain::ports::PushError> {
        Ok(doorstep_domain::ports::Pushed::Nobody)
    }
}

struct PausedClock(tokio::time::Instant);

impl doorstep_domain::ports::Clock for PausedClock {
    fn now(&self) -> doorstep_domain::Timestamp {
        doorstep_domain::Timestamp::default() + self.0.elapsed()
    }
}

#[tokio::test(start_paused = true)]
async fn promise_9_who_waits_costs_nothing_under_wake() {
    let (wake, poll) = (wake_ups(Strategy::Wake).await, wake_ups(Strategy::Poll).await);
    // A sleep as long as that wakes its thread a few times on its way through the timer's wheels.
    assert!(wake <= 20, "the node woke up {wake} times in half an hour");
    assert!(poll > 100 * 30 * 60, "the count counts nothing: poll looked {poll} times");
}
