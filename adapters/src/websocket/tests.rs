//! Connections in virtual time, over a pipe instead of a socket: behaviour that takes seconds or hours to show.

mod late;
mod sessions;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use doorstep_application::delivery::{Delivery, Receipt};
use doorstep_application::{Caller, LetInBy};
use doorstep_domain::ports::{Attempt, Clock, Presence as _, Pushed, Pusher as _};
use doorstep_domain::{
    Kind, Notification, NotificationId, Outcome, Payload, Timestamp, TokenHash, UserId,
};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, DuplexStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use uuid::Uuid;

use super::WebSocketSettings;
use super::conversation::{Conversation, Mode};
use crate::connections::{
    self, Connections, DisconnectReason, Newcomer, Pace, Paced, Registered, Transport,
};

/// Returns tokio's time, which in these tests only advances while all tasks wait.
struct VirtualClock(Instant);

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(0) + self.0.elapsed()
    }
}

pub(super) struct Node {
    connections: Arc<Connections>,
    delivery: Arc<Delivery>,
    clock: Arc<dyn Clock>,
    settings: Arc<WebSocketSettings>,
}

pub(super) type Client = WebSocketStream<DuplexStream>;

impl Node {
    pub(super) fn new() -> Self {
        Self::with(connections::ConnectionSettings::default())
    }

    fn with(limits: connections::ConnectionSettings) -> Self {
        let connections = Arc::new(Connections::new(limits));
        let clock: Arc<dyn Clock> = Arc::new(VirtualClock(Instant::now()));
        let delivery =
            Delivery::builder(connections.clone(), connections.clone(), Arc::clone(&clock));
        let delivery = Arc::new(delivery.start().unwrap());
        Self { connections, delivery, clock, settings: Arc::default() }
    }

    fn register(
        &self,
        caller: &Caller,
        pace: Pace,
    ) -> Result<Registered, connections::ConnectionRefusal> {
        let client = crate::http::ClientAddress::UNKNOWN;
        let newcomer = Newcomer { transport: Transport::WebSocket, caller, client, pace };
        self.connections.register(newcomer, self.delivery.clone())
    }

    /// Registers, announces and runs a connection whose pipe holds this many bytes.
    pub(super) async fn connect(
        &self,
        caller: &Caller,
        mode: Mode,
        pipe_bytes: usize,
    ) -> (Client, JoinHandle<DisconnectReason>) {
        let (client, conversation) = self.open(caller, mode, pipe_bytes).await;
        (client, tokio::spawn(conversation))
    }

    /// The same, for a caller who runs it.
    async fn open(
        &self,
        caller: &Caller,
        mode: Mode,
        pipe_bytes: usize,
    ) -> (Client, impl Future<Output = DisconnectReason> + use<>) {
        let (ours, theirs) = tokio::io::duplex(pipe_bytes);
        let pace = Pace::new();
        let ours = Paced::new(ours, pace.clone());
        let server = WebSocketStream::from_raw_socket(ours, Role::Server, None).await;
        let client = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
        let registered = self.register(caller, pace).unwrap();
        registered.link().announce();
        let (settings, clock) = (Arc::clone(&self.settings), Arc::clone(&self.clock));
        let (expires_at, too_slow_after) = (caller.expires_at, self.connections.too_slow_after());
        let conversation = async move {
            let clock = &*clock;
            let conversation = Conversation { mode, expires_at, registered, clock, too_slow_after };
            conversation.run(server.split(), &settings).await
        };
        (client, conversation)
    }

    /// A connection, and how often its task has been polled.
    async fn connect_counted(
        &self,
        caller: &Caller,
    ) -> (Client, Arc<AtomicU64>, JoinHandle<DisconnectReason>) {
        let (client, conversation) = self.open(caller, Mode::Acknowledging, 1024).await;
        let polls = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&polls);
        let task = tokio::spawn(async move {
            let mut conversation = pin!(conversation);
            poll_fn(|cx| {
                counter.fetch_add(1, Ordering::Relaxed);
                conversation.as_mut().poll(cx)
            })
            .await
        });
        (client, polls, task)
    }

    fn notification(&self, number: u128, ttl: Duration) -> Notification {
        Notification {
            id: NotificationId::new(Uuid::from_u128(number)),
            user_id: ada().user_id,
            kind: "test".parse::<Kind>().unwrap(),
            topic: None,
            payload: Payload::new(&"x".repeat(100)).unwrap(),
            created_at: self.clock.now(),
            ttl: doorstep_domain::Ttl::new(ttl),
            trace: None,
        }
    }

    async fn send(&self, number: u128) -> Receipt {
        let notification = self.notification(number, Duration::from_mins(1));
        self.delivery.send(notification).await.unwrap()
    }
}

pub(super) fn ada() -> Caller {
    Caller {
        user_id: UserId::from(Uuid::from_u128(1)),
        session: TokenHash::new([1; 32]),
        by: LetInBy::Session,
        expires_at: Timestamp::MAX,
    }
}

const HEARTBEAT: &str = r#"{"type":"heartbeat"}"#;

/// The next notification's text, past pings and heartbeats.
async fn text(client: &mut Client) -> String {
    loop {
        match client.next().await.unwrap().unwrap() {
            Message::Text(text) if text.as_str() == HEARTBEAT => {}
            Message::Text(text) if text.starts_with(r#"{"type":"retract""#) => {}
            Message::Text(text) => return text.to_string(),
            Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn id_in(text: &str) -> u128 {
    let frame: serde_json::Value = serde_json::from_str(text).unwrap();
    frame["id"].as_str().unwrap().parse::<Uuid>().unwrap().as_u128()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_pings_stays_and_one_that_does_not_goes() {
    let node = Node::new();
    let (mut lively, lively_task) = node.connect(&ada(), Mode::Plain, 1024).await;
    let (dead, dead_task) = node.connect(&ada(), Mode::Plain, 1024).await;
    // The client answers pings while it reads.
    let reading = tokio::spawn(async move { while lively.next().await.is_some() {} });
    assert_eq!(dead_task.await.unwrap(), DisconnectReason::Unanswered);
    assert_eq!(node.clock.now(), Timestamp::from_micros(35_000_000), "25 s, and 10 s of patience");
    drop(dead);
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert!(!lively_task.is_finished() && node.connections.is_online(&ada().user_id).await);
    reading.abort();
    assert_eq!(lively_task.await.unwrap(), DisconnectReason::Gone);
}

#[tokio::test(start_paused = true)]
async fn a_written_frame_is_delivered_to_a_plain_client_and_not_to_one_that_acknowledges() {
    let node = Node::new();
    let (mut plain, _task) = node.connect(&ada(), Mode::Plain, 1024).await;
    assert_eq!(node.send(1).await.outcome().await, Some(Outcome::Delivered));
    assert_eq!(id_in(&text(&mut plain).await), 1);
    plain.close(None).await.unwrap();
    drop(plain);

    let (mut acking, task) = node.connect(&ada(), Mode::Acknowledging, 1024).await;
    let receipt = node.send(2).await;
    assert_eq!(id_in(&text(&mut acking).await), 2);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(node.delivery.ended(Outcome::Delivered), 1, "it has not acknowledged yet");
    let ack = format!(r#"{{"type":"ack","id":"{}"}}"#, Uuid::from_u128(2));
    acking.send(Message::text(ack)).await.unwrap();
    assert_eq!(receipt.outcome().await, Some(Outcome::Delivered));
    drop(acking);
    assert_eq!(task.await.unwrap(), DisconnectReason::Gone);
}

#[tokio::test(start_paused = true)]
async fn unacknowledged_notifications_are_pushed_again_on_the_same_connection() {
    let node = Node::new();
    let (mut client, _task) = node.connect(&ada(), Mode::Acknowledging, 1024).await;
    let _receipt = node.send(1).await;
    for at in [0, 10, 30] {
        assert_eq!(id_in(&text(&mut client).await), 1);
        assert_eq!(node.clock.now().as_millis() / 1000, at, "10 s, and doubled with each repeat");
    }
    // A new connection gets it at once.
    let (mut other, _other) = node.connect(&ada(), Mode::Acknowledging, 1024).await;
    for at in [30, 40] {
        assert_eq!(id_in(&text(&mut other).await), 1);
        assert_eq!(node.clock.now().as_millis() / 1000, at);
    }
}

#[tokio::test(start_paused = true)]
async fn a_frame_is_not_written_after_its_deadline() {
    let node = Node::new();
    // Room for less than one frame: the first is being written, the others wait behind it.
    let (mut client, _task) = node.connect(&ada(), Mode::Plain, 64).await;
    let mut receipts = Vec::new();
    for (number, seconds) in [(1, 60), (2, 5), (3, 60)] {
        let notification = node.notification(number, Duration::from_secs(seconds));
        receipts.push(node.delivery.send(notification).await.unwrap());
    }
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(id_in(&text(&mut client).await), 1);
    assert_eq!(id_in(&text(&mut client).await), 3);
    let mut outcomes = Vec::new();
    for receipt in receipts {
        outcomes.push(receipt.outcome().await.unwrap());
    }
    assert_eq!(outcomes, [Outcome::Delivered, Outcome::Expired, Outcome::Delivered]);
}

#[tokio::test(start_paused = true)]
async fn a_full_connection_is_present_and_one_that_is_too_slow_is_gone_after_the_grace() {
    let limits = connections::ConnectionSettings {
        outbox_frames: 4,
        ..connections::ConnectionSettings::default()
    };
    let node = Node::with(limits);
    let (client, task) = node.connect(&ada(), Mode::Plain, 64).await;
    let begun = Instant::now();
    let push = async |number| {
        let n = node.notification(number, Duration::from_mins(1));
        node.connections.push(&n, Attempt::FIRST, Timestamp::MAX).await.unwrap()
    };
    // The first frame leaves the outbox and fills the pipe.
    assert_eq!(push(1).await, Pushed::InFlight);
    tokio::time::sleep(Duration::from_millis(1)).await;
    for number in 2..=5 {
        assert_eq!(push(number).await, Pushed::InFlight);
    }
    assert_eq!(push(6).await, Pushed::Full);
    let ada = ada().user_id;
    assert!(node.connections.is_online(&ada).await && node.connections.is_reading(&ada).await);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(node.connections.is_online(&ada).await && !node.connections.is_reading(&ada).await);
    assert_eq!(push(7).await, Pushed::Full, "never `Nobody` while it is present");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!node.connections.is_online(&ada).await, "absent before its close frame");
    assert_eq!((push(8).await, node.connections.count()), (Pushed::Nobody, 0));
    assert_eq!(task.await.unwrap(), DisconnectReason::TooSlow);
    let gone_after = Duration::from_secs(10) + node.settings.slow_close_grace;
    assert_eq!(begun.elapsed().as_secs(), gone_after.as_secs(), "it never read");
    assert_eq!(node.connections.ended_by(DisconnectReason::TooSlow), 1);
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_byte_now_and_then_keeps_a_connection_open() {
    let node = Node::new();
    let (client, task) = node.connect(&ada(), Mode::Plain, 1).await;
    let (mut client, receipt) = (client.into_inner(), node.send(1).await);
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(client.read_u8().await.is_ok());
    }
    assert!(!task.is_finished(), "30 s for 100 bytes, and never 10 s without one");
    drop((client, receipt));
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_goes_out_with_each_ping_to_clients_that_acknowledge() {
    let node = Node::new();
    for (mode, expected) in [(Mode::Acknowledging, true), (Mode::Plain, false)] {
        let (mut client, _task) = node.connect(&ada(), mode, 1024).await;
        let first = client.next().await.unwrap().unwrap();
        let heartbeat = Message::text(HEARTBEAT);
        assert_eq!(first == heartbeat, expected, "{first:?}");
        assert_eq!(first.is_ping(), !expected);
    }
}

#[tokio::test(start_paused = true)]
async fn pings_keep_their_interval_however_late_the_answers_are() {
    let node = Node::new();
    let (mut client, task) = node.connect(&ada(), Mode::Plain, 1024).await;
    for number in 1..=20 {
        assert!(client.next().await.unwrap().unwrap().is_ping());
        assert_eq!(node.clock.now(), Timestamp::from_micros(number * 25_000_000));
        tokio::time::sleep(Duration::from_millis(9_999)).await;
        // The answer was queued when the ping was read, and goes out now.
        client.flush().await.unwrap();
    }
    assert_eq!(task.await.unwrap(), DisconnectReason::Unanswered);
    assert_eq!(node.clock.now(), Timestamp::from_micros((21 * 25 + 10) * 1_000_000));
}

#[tokio::test(start_paused = true)]
async fn connections_that_began_within_a_beat_are_pinged_together() {
    let node = Node::new();
    tokio::time::sleep(Duration::from_millis(101)).await;
    let (mut early, _early) = node.connect(&ada(), Mode::Plain, 1024).await;
    tokio::time::sleep(Duration::from_millis(48)).await;
    let (mut late, _late) = node.connect(&ada(), Mode::Plain, 1024).await;
    for number in 1..=3 {
        for client in [&mut early, &mut late] {
            assert!(client.next().await.unwrap().unwrap().is_ping());
            assert_eq!(node.clock.now(), Timestamp::from_micros(number * 25_000_000 + 100_000));
            client.flush().await.unwrap();
        }
    }
}

/// Most of what a server with many idle connections does.
#[tokio::test(start_paused = true)]
async fn an_idle_connection_wakes_twice_per_ping() {
    let node = Node::new();
    let (mut client, polls, task) = node.connect_counted(&ada()).await;
    let reading = tokio::spawn(async move { while client.next().await.is_some() {} });
    tokio::time::sleep(Duration::from_secs(25 * 100 + 1)).await;
    let polls = polls.load(Ordering::Relaxed);
    // Once a minute each looks at the wall clock, for the end of its session.
    let expected = 1 + 2 * 100 + 41;
    assert!(polls <= expected, "{polls} polls; {expected} expected");
    reading.abort();
    assert_eq!(task.await.unwrap(), DisconnectReason::Gone);
}

/// Reads notifications and acknowledges each at once.
async fn read_all(client: &mut Client, count: usize) -> Vec<u128> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let id = id_in(&text(client).await);
        seen.push(id);
        let ack = format!(r#"{{"type":"ack","id":"{}"}}"#, Uuid::from_u128(id));
        client.send(Message::text(ack)).await.unwrap();
    }
    seen
}

#[tokio::test(start_paused = true)]
async fn every_connection_that_reads_gets_a_burst_larger_than_its_outbox_in_order_and_once() {
    let node = Node::new();
    let (mut fast, _fast) = node.connect(&ada(), Mode::Acknowledging, 64 * 1024).await;
    let (mut slow, _slow) = node.connect(&ada(), Mode::Acknowledging, 64).await;
    let count = 3_000;
    let (sent, fast, slow) = tokio::join!(
        async {
            let mut receipts = Vec::new();
            for number in 0..count as u128 {
                receipts.push(node.send(number).await);
            }
            receipts
        },
        read_all(&mut fast, count),
        read_all(&mut slow, count)
    );
    let all: Vec<u128> = (0..count as u128).collect();
    assert!(fast == all && slow == all, "in order, each once");
    for receipt in sent {
        assert_eq!(receipt.outcome().await, Some(Outcome::Delivered));
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_does_not_read_holds_up_no_other_and_gets_the_rest_if_it_reads_on() {
    let node = Node::new();
    let (mut reads, _reads) = node.connect(&ada(), Mode::Plain, 64 * 1024).await;
    let (mut stuck, _stuck) = node.connect(&ada(), Mode::Acknowledging, 64).await;
    let _first = node.send(0).await;
    assert_eq!(id_in(&text(&mut reads).await), 0);
    // Its socket takes nothing for a second: from then on it does not hold up the other one.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let count = 600;
    for number in 1..count {
        drop(node.send(number).await);
        assert_eq!(id_in(&text(&mut reads).await), number);
    }
    // Notifications that the other one acknowledged while this one was full are delivered; its outbox held the
    // first ones.
    let mut seen = Vec::new();
    while let Ok(text) = tokio::time::timeout(Duration::from_secs(1), text(&mut stuck)).await {
        seen.push(id_in(&text));
    }
    assert!(seen.len() >= 128 && seen.is_sorted(), "{seen:?}");
    let later = node.send(count).await;
    assert_eq!(id_in(&text(&mut stuck).await), count, "it has room again");
    drop(later);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_connection_frees_its_place_and_its_notifications_wait_again() {
    let node = Node::new();
    let (mut client, task) = node.connect(&ada(), Mode::Acknowledging, 1024).await;
    let _receipt = node.send(1).await;
    assert_eq!(id_in(&text(&mut client).await), 1);
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert!(!node.connections.is_online(&ada().user_id).await);
    assert_eq!(node.connections.count(), 0);
    assert_eq!(node.delivery.held().in_flight, 0);
    assert_eq!(node.delivery.held().waiting, 1);
    let (mut client, _task) = node.connect(&ada(), Mode::Acknowledging, 1024).await;
    assert_eq!(id_in(&text(&mut client).await), 1);
}

/// Every connection has a task of this size.
#[tokio::test(start_paused = true)]
async fn an_idle_connection_has_a_small_task() {
    let node = Node::new();
    let (socket, _client) = tokio::io::duplex(1024);
    let parts = super::WebSocketParts {
        connections: node.connections.clone(),
        settings: node.settings.clone(),
        delivery: node.delivery.clone(),
        authenticator: sessions::sign_ins(&node, None).into(),
        clock: node.clock.clone(),
    };
    let client = crate::http::ClientAddress::UNKNOWN;
    let task = super::upgrade::live(parts, socket, Pace::new(), ada(), 0, client, Mode::Plain);
    assert!(size_of_val(&task) <= 2520, "{} bytes", size_of_val(&task));
}
