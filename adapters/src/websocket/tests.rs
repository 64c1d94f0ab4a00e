//! Connections in virtual time, over a pipe instead of a socket: what only shows after seconds, or an hour.

use std::sync::Arc;
use std::time::Duration;

use doorstep_application::delivery::{Delivery, Receipt};
use doorstep_application::sign_ins::{SessionEnd, SignInParts, SignIns};
use doorstep_application::{Caller, LetInBy};
use doorstep_domain::ports::{
    Attempt, Clock, MockAccounts, MockPasswordHasher, MockSessions, MockTokens, Presence as _,
    Pushed, Pusher as _,
};
use doorstep_domain::{
    Kind, Notification, NotificationId, Outcome, Payload, Session, Timestamp, TokenHash, UserId,
};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use uuid::Uuid;

use super::connection::{Connection, Mode};
use super::upgrade::live;
use super::{CloseReason, Connections, Settings, WebSocketParts};

/// Tells tokio's time, which in these tests only moves while everybody waits.
struct VirtualClock(Instant);

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(0) + self.0.elapsed()
    }
}

struct Node {
    connections: Arc<Connections>,
    delivery: Arc<Delivery>,
    clock: Arc<dyn Clock>,
    settings: Settings,
}

type Client = WebSocketStream<DuplexStream>;

impl Node {
    fn new(settings: Settings) -> Self {
        let connections = Arc::new(Connections::new(settings.clone()));
        let clock: Arc<dyn Clock> = Arc::new(VirtualClock(Instant::now()));
        let delivery =
            Delivery::builder(connections.clone(), connections.clone(), Arc::clone(&clock));
        Self { connections, delivery: Arc::new(delivery.start().unwrap()), clock, settings }
    }

    /// Registers, announces and runs a connection whose pipe holds so many bytes.
    async fn connect(
        &self,
        caller: &Caller,
        mode: Mode,
        pipe_bytes: usize,
    ) -> (Client, JoinHandle<CloseReason>) {
        let (ours, theirs) = tokio::io::duplex(pipe_bytes);
        let server = WebSocketStream::from_raw_socket(ours, Role::Server, None).await;
        let client = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
        let registered =
            self.connections.register(caller, [127, 0, 0, 1].into(), self.delivery.clone());
        let (registered, frames) = registered.unwrap();
        self.delivery.arrived(&caller.user_id);
        let connection = Connection {
            mode,
            expires_at: caller.expires_at,
            registered,
            frames,
            delivery: Arc::clone(&self.delivery),
            clock: Arc::clone(&self.clock),
        };
        let settings = self.settings.clone();
        let task = tokio::spawn(async move { connection.run(server, &settings).await });
        (client, task)
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
        }
    }

    async fn send(&self, number: u128) -> Receipt {
        let notification = self.notification(number, Duration::from_mins(1));
        self.delivery.send(notification).await.unwrap()
    }
}

fn ada() -> Caller {
    Caller {
        user_id: UserId::from(Uuid::from_u128(1)),
        session: TokenHash::new([1; 32]),
        by: LetInBy::Session,
        expires_at: Timestamp::MAX,
    }
}

/// The next text, past pings.
async fn text(client: &mut Client) -> String {
    loop {
        match client.next().await.unwrap().unwrap() {
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
    let node = Node::new(Settings::default());
    let (mut lively, lively_task) = node.connect(&ada(), Mode::Plain, 1024).await;
    let (dead, dead_task) = node.connect(&ada(), Mode::Plain, 1024).await;
    // Reading is what answers pings.
    let reading = tokio::spawn(async move { while lively.next().await.is_some() {} });
    assert_eq!(dead_task.await.unwrap(), CloseReason::Unanswered);
    assert_eq!(node.clock.now(), Timestamp::from_micros(35_000_000), "25 s, and 10 s of patience");
    drop(dead);
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert!(!lively_task.is_finished() && node.connections.is_online(&ada().user_id).await);
    reading.abort();
    assert_eq!(lively_task.await.unwrap(), CloseReason::Gone);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_expires_takes_its_connection_along() {
    let node = Node::new(Settings::default());
    let expires_at = Timestamp::from_micros(0) + Duration::from_mins(150);
    let (mut client, task) = node.connect(&Caller { expires_at, ..ada() }, Mode::Plain, 1024).await;
    let code = loop {
        if let Message::Close(frame) = client.next().await.unwrap().unwrap() {
            break u16::from(frame.unwrap().code);
        }
    };
    assert_eq!((code, node.clock.now()), (4401, expires_at));
    drop(client);
    assert_eq!(task.await.unwrap(), CloseReason::SessionEnded);
}

#[tokio::test(start_paused = true)]
async fn written_is_delivered_to_a_plain_client_and_not_to_one_that_acknowledges() {
    let node = Node::new(Settings::default());
    let (mut plain, _task) = node.connect(&ada(), Mode::Plain, 1024).await;
    assert_eq!(node.send(1).await.outcome().await, Some(Outcome::Delivered));
    assert_eq!(id_in(&text(&mut plain).await), 1);
    plain.close(None).await.unwrap();
    drop(plain);

    let (mut acking, task) = node.connect(&ada(), Mode::Acknowledging, 1024).await;
    let receipt = node.send(2).await;
    assert_eq!(id_in(&text(&mut acking).await), 2);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(node.delivery.ended(Outcome::Delivered), 1, "it has not said anything yet");
    let ack = format!(r#"{{"type":"ack","id":"{}"}}"#, Uuid::from_u128(2));
    acking.send(Message::text(ack)).await.unwrap();
    assert_eq!(receipt.outcome().await, Some(Outcome::Delivered));
    drop(acking);
    assert_eq!(task.await.unwrap(), CloseReason::Gone);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_acknowledged_in_time_is_shown_again_on_the_same_connection() {
    let node = Node::new(Settings::default());
    let (mut client, _task) = node.connect(&ada(), Mode::Acknowledging, 1024).await;
    let _receipt = node.send(1).await;
    for _ in 0..3 {
        assert_eq!(id_in(&text(&mut client).await), 1);
    }
    assert!(node.clock.now() >= Timestamp::from_micros(20_000_000), "10 s apart");
}

#[tokio::test(start_paused = true)]
async fn a_frame_whose_time_is_up_is_not_written() {
    let node = Node::new(Settings::default());
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
async fn who_is_too_slow_is_absent_at_once_and_gone_after_the_grace() {
    let settings = Settings { queue_frames: 4, ..Settings::default() };
    let grace = settings.close_grace;
    let node = Node::new(settings);
    let (client, task) = node.connect(&ada(), Mode::Plain, 64).await;
    let push = async |number| {
        let n = node.notification(number, Duration::from_mins(1));
        node.connections.push(&n, Attempt::FIRST, Timestamp::MAX).await.unwrap()
    };
    // The first leaves the queue for the pipe, and fills it.
    assert_eq!(push(1).await, Pushed::InFlight);
    tokio::time::sleep(Duration::from_secs(1)).await;
    for number in 2..=5 {
        assert_eq!(push(number).await, Pushed::InFlight);
    }
    let before = node.clock.now();
    assert_eq!(push(6).await, Pushed::Nobody);
    assert!(!node.connections.is_online(&ada().user_id).await);
    assert_eq!(task.await.unwrap(), CloseReason::TooSlow);
    assert_eq!(node.clock.now(), before + grace, "it never read, and is not waited for any longer");
    assert_eq!(node.connections.stats().connections, 0);
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn however_a_connections_task_ends_its_place_is_left_and_what_was_in_flight_waits_again() {
    let node = Node::new(Settings::default());
    let (mut client, task) = node.connect(&ada(), Mode::Acknowledging, 1024).await;
    let _receipt = node.send(1).await;
    assert_eq!(id_in(&text(&mut client).await), 1);
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert!(!node.connections.is_online(&ada().user_id).await);
    assert_eq!(node.connections.stats().connections, 0);
    assert_eq!(node.delivery.held().in_flight, 0);
    assert_eq!(node.delivery.held().waiting, 1);
    let (mut client, _task) = node.connect(&ada(), Mode::Acknowledging, 1024).await;
    assert_eq!(id_in(&text(&mut client).await), 1);
}

#[tokio::test(start_paused = true)]
async fn only_the_ended_sessions_connections_close() {
    let node = Node::new(Settings::default());
    let other = Caller { session: TokenHash::new([2; 32]), ..ada() };
    let (first, first_task) = node.connect(&ada(), Mode::Plain, 1024).await;
    let (_second, second_task) = node.connect(&other, Mode::Plain, 1024).await;
    let before = node.connections.session_ends();
    node.connections.ended(&ada().user_id, &ada().session);
    assert_ne!(node.connections.session_ends(), before);
    assert_eq!(first_task.await.unwrap(), CloseReason::SessionEnded);
    drop(first);
    assert!(!second_task.is_finished() && node.connections.is_online(&ada().user_id).await);
}

/// Sign-ins that know one session, if any, and are asked for it after what waited has been handed over.
fn sign_ins(node: &Node, session: Option<Session>) -> SignIns {
    let mut sessions = MockSessions::new();
    let connections = Arc::clone(&node.connections);
    sessions.expect_find().returning(move |_, _| {
        assert_eq!(connections.stats().frames_queued, 1, "asked before the arrival was announced");
        Ok(session.clone())
    });
    SignIns::new(SignInParts {
        accounts: Arc::new(MockAccounts::new()),
        sessions: Arc::new(sessions),
        passwords: Arc::new(MockPasswordHasher::new()),
        tokens: Arc::new(MockTokens::new()),
        clock: Arc::clone(&node.clock),
        session_end: Arc::clone(&node.connections) as Arc<dyn SessionEnd>,
        session_ttl: Duration::from_hours(1),
    })
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_between_the_look_at_its_token_and_the_registration_is_noticed() {
    let alive =
        Session { token: ada().session, user_id: ada().user_id, expires_at: Timestamp::MAX };
    for (session, stays) in [(None, false), (Some(alive), true)] {
        let node = Node::new(Settings::default());
        let before_the_look = node.connections.session_ends();
        // Finds no connection to close: there is none yet.
        node.connections.ended(&ada().user_id, &ada().session);
        let _receipt = node.send(1).await;
        let (ours, theirs) = tokio::io::duplex(1024);
        let parts = WebSocketParts {
            connections: node.connections.clone(),
            delivery: node.delivery.clone(),
            authenticator: sign_ins(&node, session).into(),
            clock: node.clock.clone(),
        };
        let address = [127, 0, 0, 1].into();
        tokio::spawn(live(parts, ours, ada(), before_the_look, address, Mode::Plain));
        let mut client = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
        match client.next().await.unwrap().unwrap() {
            Message::Text(_) => assert!(stays),
            Message::Close(frame) => {
                assert_eq!((u16::from(frame.unwrap().code), stays), (4401, false));
                assert_eq!(
                    node.delivery.held().waiting,
                    1,
                    "nothing was shown to the dead session"
                );
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_connection_leaves_no_trace() {
    let settings = Settings { max_per_user: 1, max_per_address: 2, ..Settings::default() };
    let node = Node::new(settings);
    let register = |user: u128| {
        let caller = Caller { user_id: UserId::from(Uuid::from_u128(user)), ..ada() };
        node.connections.register(&caller, [127, 0, 0, 1].into(), node.delivery.clone())
    };
    let first = register(1).unwrap();
    assert_eq!(register(1).err(), Some(CloseReason::OverLimit), "one a user");
    let second = register(2).unwrap();
    assert_eq!(register(3).err(), Some(CloseReason::OverLimit), "two an address");
    assert_eq!(node.connections.stats().connections, 2);
    drop(first);
    let third = register(3).unwrap();
    drop((second, third));
    assert_eq!(node.connections.stats().connections, 0);
    assert_eq!(node.connections.stop(Duration::from_secs(1)).await, 0);
    assert_eq!(register(1).err(), Some(CloseReason::Restart));
}
