//! A stream without a network: its events, when they count as delivered, and how it ends.

use std::sync::Arc;
use std::time::Duration;

use doorstep_application::delivery::Delivery;
use doorstep_application::sign_ins::SessionEnd as _;
use doorstep_application::{Caller, LetInBy};
use doorstep_domain::ports::{Clock, Presence as _};
use doorstep_domain::{
    Notification, NotificationId, Outcome, Payload, SystemClock, Timestamp, TokenHash, UserId,
};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use uuid::Uuid;

use super::events::Events;
use super::watch::{EndOfBody, watch};
use crate::connections::{
    ConnectionRefusal, ConnectionSettings, Connections, Newcomer, Pace, Paced, Registered,
    Transport,
};

const HEARTBEAT: Duration = Duration::from_secs(25);

struct Rig {
    streams: Arc<Connections>,
    delivery: Arc<Delivery>,
    clock: Arc<dyn Clock>,
}

fn user() -> UserId {
    UserId::from(Uuid::from_u128(1))
}

fn caller(expires_at: Timestamp) -> Caller {
    let (session, by) = (TokenHash::new([1; 32]), LetInBy::Session);
    Caller { user_id: user(), session, by, expires_at }
}

impl Rig {
    fn new(settings: ConnectionSettings) -> Self {
        let streams = Arc::new(Connections::new(settings));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let delivery =
            Delivery::builder(streams.clone(), streams.clone(), clock.clone()).start().unwrap();
        Self { streams, delivery: Arc::new(delivery), clock }
    }

    fn open(&self) -> BoxStream<'static, String> {
        self.open_until(Timestamp::MAX)
    }

    fn open_until(&self, expires_at: Timestamp) -> BoxStream<'static, String> {
        self.open_at(Pace::new(), expires_at)
    }

    fn open_at(&self, pace: Pace, expires_at: Timestamp) -> BoxStream<'static, String> {
        let registered = self.register(pace, expires_at).unwrap();
        let link = registered.link().clone();
        link.announce();
        watch(&self.streams, registered, self.clock.clone(), expires_at);
        let (clock, end) = (self.clock.clone(), EndOfBody(link.connection().clone()));
        let events = Events { link, clock, heartbeat: HEARTBEAT, written: None, end };
        let text = |bytes: Result<axum::body::Bytes, _>| {
            let Ok(bytes) = bytes;
            String::from_utf8(bytes.to_vec()).unwrap()
        };
        Box::pin(events.into_body().map(text))
    }

    fn register(&self, pace: Pace, expires_at: Timestamp) -> Result<Registered, ConnectionRefusal> {
        let (caller, client) = (caller(expires_at), crate::http::ClientAddress::UNKNOWN);
        let newcomer = Newcomer { transport: Transport::Sse, caller: &caller, client, pace };
        self.streams.register(newcomer, self.delivery.clone())
    }

    async fn send(&self, number: u128, payload: &str) {
        let notification = Notification {
            id: NotificationId::new(Uuid::from_u128(number)),
            user_id: user(),
            kind: "welcome".parse().unwrap(),
            topic: None,
            payload: Payload::parse(payload).unwrap(),
            created_at: self.clock.now(),
            ttl: None,
            trace: None,
        };
        drop(self.delivery.send(notification).await.unwrap());
    }
}

#[tokio::test]
async fn waiting_events_come_first_and_count_once_the_body_is_polled_again() {
    let rig = Rig::new(ConnectionSettings::default());
    rig.send(7, "{\n\"two\":\r\n\"lines\"}").await;
    let mut stream = rig.open();
    assert_eq!(stream.next().await.unwrap(), "retry: 1000\n\n");
    let event = stream.next().await.unwrap();
    let id = Uuid::from_u128(7);
    assert!(event.starts_with(&format!("id: {id}\ndata: {{\"type\":\"notification\"")), "{event}");
    assert!(event.ends_with("\"payload\":{ \"two\":  \"lines\"}}\n\n"), "one line: {event}");
    assert_eq!(rig.delivery.ended(Outcome::Delivered), 0, "not known to be written yet");
    rig.send(8, "{}").await;
    assert!(stream.next().await.unwrap().contains(&Uuid::from_u128(8).to_string()));
    assert_eq!(rig.delivery.ended(Outcome::Delivered), 1);
}

#[tokio::test(start_paused = true)]
async fn an_event_counts_once_a_blocked_socket_has_taken_it() {
    let rig = Rig::new(ConnectionSettings::default());
    let (ours, mut theirs) = tokio::io::duplex(1);
    let pace = Pace::new();
    let mut socket = Paced::new(ours, pace.clone());
    let mut stream = rig.open_at(pace, Timestamp::MAX);
    stream.next().await.unwrap();
    rig.send(7, "{}").await;
    assert!(stream.next().await.unwrap().starts_with("id: "));
    // The server's buffer has room, so that it asks for more.
    let writing = tokio::spawn(async move { socket.write_all(b"event").await });
    rig.send(8, "{}").await;
    let more = tokio::time::timeout(Duration::from_secs(1), stream.next()).await;
    assert!(more.is_err() && rig.delivery.ended(Outcome::Delivered) == 0, "{more:?}");
    theirs.read_exact(&mut [0; 5]).await.unwrap();
    writing.await.unwrap().unwrap();
    assert!(stream.next().await.unwrap().contains(&Uuid::from_u128(8).to_string()));
    assert_eq!(rig.delivery.ended(Outcome::Delivered), 1);
}

#[tokio::test]
async fn events_that_a_dropped_stream_did_not_write_come_again_on_the_next() {
    let rig = Rig::new(ConnectionSettings::default());
    let mut first = rig.open();
    rig.send(7, "{}").await;
    first.next().await.unwrap();
    assert!(first.next().await.unwrap().starts_with("id: "));
    drop(first);
    assert!(!rig.streams.is_online(&user()).await, "it has departed");
    let mut second = rig.open();
    second.next().await.unwrap();
    assert!(second.next().await.unwrap().contains(&Uuid::from_u128(7).to_string()));
}

#[tokio::test]
async fn each_end_has_the_code_of_a_websocket_s_close() {
    let rig = Rig::new(ConnectionSettings::default());
    let expired = rig.open_until(rig.clock.now());
    let signed_out = rig.open();
    rig.streams.ended(&user(), &TokenHash::new([1; 32]));
    let stopping = Rig::new(ConnectionSettings::default());
    let stopped = stopping.open();
    stopping.streams.close_all();
    for (stream, code) in [(expired, 4401), (signed_out, 4401), (stopped, 1012)] {
        let said: Vec<String> = stream.collect().await;
        let goodbye = format!("event: closing\ndata: {{\"code\":{code}}}\n\n");
        assert_eq!(said.last(), Some(&goodbye));
    }
    for rig in [&rig, &stopping] {
        while rig.streams.count() > 0 {
            tokio::task::yield_now().await;
        }
    }
    let refused = stopping.register(Pace::new(), Timestamp::MAX);
    assert_eq!(refused.err(), Some(ConnectionRefusal::Stopping));
}

#[tokio::test(start_paused = true)]
async fn a_stalled_stream_leaves_its_place_although_nothing_is_read_from_it() {
    let rig = Rig::new(ConnectionSettings::default());
    let (ours, _theirs) = tokio::io::duplex(1);
    let pace = Pace::new();
    let mut socket = Paced::new(ours, pace.clone());
    // Never polled, like by a server whose socket is full.
    let stalled = rig.open_at(pace, Timestamp::MAX);
    tokio::spawn(async move { socket.write_all(b"full").await });
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert!(rig.streams.is_online(&user()).await);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!rig.streams.is_online(&user()).await);
    assert_eq!(rig.streams.count(), 0);
    let said: Vec<String> = stalled.collect().await;
    assert!(said.last().unwrap().contains("4408"), "{said:?}");
}

#[tokio::test]
async fn a_signed_out_stream_leaves_its_place_although_nothing_is_read_from_it() {
    let rig = Rig::new(ConnectionSettings::default());
    let _stalled = rig.open();
    rig.streams.ended(&user(), &TokenHash::new([1; 32]));
    tokio::task::yield_now().await;
    assert_eq!(rig.streams.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_idle_stream_sends_heartbeats() {
    let rig = Rig::new(ConnectionSettings::default());
    let mut stream = rig.open();
    stream.next().await.unwrap();
    let begun = tokio::time::Instant::now();
    assert_eq!(stream.next().await.unwrap(), "event: heartbeat\ndata: {}\n\n");
    assert_eq!(begun.elapsed(), HEARTBEAT);
}
