//! The eighth promise: a planned stop loses nothing, and a crash loses only deferred notifications.
//!
//! The hundred thousand notifications reach a real process through its store, where a stopped node left them.

use std::time::Duration;

use doorstep_adapters::sql::{Store, connect};
use doorstep_domain::ports::{Clock as _, Handover as _, Ids as _};
use doorstep_domain::{
    Notification, NotificationId, Outcome, Payload, SystemClock, Timestamp, Ttl, UserId, V7Ids,
};
use doorstep_tests::client::User;
use doorstep_tests::postgres::Postgres;
use doorstep_tests::scrape::Scrape;
use doorstep_tests::server::{Doorstep, SqliteFile};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::backends::Door;
use crate::node::{Node, Options, eventually};

const ACKS: &str = "doorstep.v1";
/// A stopping process must have exited after this time.
const GONE_WITHIN: Duration = Duration::from_secs(90);
const HOUR: Ttl = Ttl::from_secs(60 * 60);

fn waiting(user: &UserId, created_at: Timestamp) -> Notification {
    Notification {
        id: NotificationId::new(V7Ids.next()),
        user_id: user.clone(),
        kind: "test".parse().unwrap(),
        topic: None,
        payload: Payload::new(&"x".repeat(200)).unwrap(),
        created_at,
        ttl: Some(HOUR),
        trace: None,
    }
}

async fn leave(store: &Store, notifications: &[Notification]) {
    for batch in notifications.chunks(1_000) {
        store.leave(batch).await.unwrap();
    }
}

fn id_of(frame: &Value) -> String {
    frame["id"].as_str().unwrap().to_owned()
}

async fn check_a_stop_loses_nothing(database: &str) {
    const COUNT: usize = 100_000;
    const HERS: usize = 40;
    // Her welcome and her reward wait when the first process stops.
    let serve = || {
        // What is shown is that nothing is lost. How long a stop may take is a setting.
        let call = Doorstep::serve(database).env("DOORSTEP_DELIVERY__TTL", "1h");
        call.env("DOORSTEP_SERVER__STOP_WITHIN", "60s")
    };
    let server = serve().start().await;
    let ada = User::register(server.url(), "ada").await;
    ada.has("1000.00").await;
    server.terminate();
    assert_eq!(server.wait().await.code, Some(0));

    let now = SystemClock::start().now();
    let store = connect(database).await.unwrap();
    let her_id: UserId = ada.id.parse().unwrap();
    let hers: Vec<_> = (0..HERS).map(|_| waiting(&her_id, now)).collect();
    let long_ago = Timestamp::from_micros(now.as_micros() - 2 * 60 * 60 * 1_000_000);
    let mut left = vec![waiting(&her_id, long_ago)];
    left.extend(hers.iter().cloned());
    left.extend((0..COUNT).map(|_| waiting(&UserId::from(Uuid::now_v7()), now)));
    leave(&store, &left).await;
    store.disconnect().await;

    // All of them wait in this process, and it hands over all of them, except those that have expired.
    let server = serve().start().await;
    let all = COUNT + HERS + 2;
    let all_of_them = f64::from(u32::try_from(all).unwrap());
    eventually("what is over has expired", async || {
        let waiting = Scrape::of(server.url()).await.sum("doorstep_notifications_waiting", &[]);
        (waiting - all_of_them).abs() < 0.5
    })
    .await;
    server.terminate();
    let gone = tokio::time::timeout(GONE_WITHIN, server.wait()).await;
    let finished = gone.expect("the process is gone");
    assert_eq!(finished.code, Some(0));
    assert!(finished.stderr.contains(&format!("handed_over={all}")), "{}", finished.stderr);
    assert!(finished.stderr.contains("handed over so far"), "progress is logged");

    // The next process has them, with the remaining TTL.
    let server = serve().start().await;
    let ada = ada.at(server.url());
    let mut socket = ada.connect(ACKS).await;
    let mut seen = Vec::new();
    for _ in 0..HERS + 2 {
        let frame = socket.notification().await;
        socket.acknowledge(&frame).await;
        seen.push(frame);
    }
    assert_eq!((&seen[0]["kind"], &seen[1]["kind"]), (&"welcome".into(), &"reward.granted".into()));
    let order: Vec<_> = hers.iter().map(|n| n.id.to_string()).collect();
    assert_eq!(seen[2..].iter().map(id_of).collect::<Vec<_>>(), order);
    assert!(socket.round_trip().await.is_empty(), "expired ones do not arrive");
    server.kill().await;
}

#[tokio::test]
async fn promise_8_a_stop_with_100_000_waiting_loses_nothing_on_sqlite() {
    check_a_stop_loses_nothing(&SqliteFile::new().url()).await;
}

#[tokio::test]
async fn promise_8_a_stop_with_100_000_waiting_loses_nothing_on_postgres() {
    check_a_stop_loses_nothing(&Postgres::shared().await.database().await).await;
}

#[tokio::test]
async fn promise_8_what_is_in_flight_is_handed_over_too() {
    let file = SqliteFile::new();
    let options = || Options { notifications: false, database: file.url(), ..Options::default() };
    let node = Node::with(options()).await;
    let ada = User::register(&node.url(), "ada").await;
    let mut socket = ada.connect(ACKS).await;
    socket.round_trip().await;
    let id = ada.id.parse().unwrap();
    let sent = node.notification(&id, 3);
    let sent_id = sent.id.to_string();
    let receipt = node.delivery.send(sent).await.unwrap();
    assert_eq!(id_of(&socket.notification().await), sent_id);
    // The stop comes between frame and ack, while the connection is still registered: its client has not closed it
    // in time.
    assert_eq!(node.delivery.held().in_flight, 1);
    let stopped = node.delivery.stop(GONE_WITHIN).await;
    assert_eq!((stopped.handed_over, stopped.dropped), (1, 0));
    let again = node.stop(GONE_WITHIN).await;
    assert_eq!((again.handed_over, again.dropped), (0, 0), "it is handed over once");
    assert_eq!(receipt.outcome().await, None, "the node that takes it up will know the outcome");
    assert_eq!(socket.close_code().await, 1012);

    let node = Node::with(options()).await;
    let mut socket = ada.at(&node.url()).connect(ACKS).await;
    let frame = socket.notification().await;
    assert_eq!(id_of(&frame), sent_id);
    socket.acknowledge(&frame).await;
    eventually("delivered", async || node.delivery.ended(Outcome::Delivered) == 1).await;
    let stopped = node.stop(GONE_WITHIN).await;
    assert_eq!((stopped.handed_over, stopped.dropped), (0, 0));
}

async fn check_two_nodes_share_what_was_left(database: &str) {
    const USERS: usize = 10;
    const EACH: usize = 90;
    let options =
        || Options { notifications: false, database: database.to_owned(), ..Options::default() };
    let first = Node::with(options()).await;
    let mut users = Vec::new();
    for number in 0..USERS {
        users.push(User::register(&first.url(), &format!("user-{number}")).await);
    }
    let now = SystemClock::start().now();
    let left: Vec<_> = (0..USERS * EACH)
        .map(|number| waiting(&users[number % USERS].id.parse().unwrap(), now))
        .collect();
    // Notifications for other users, enough for several batches per node.
    let strangers: Vec<_> =
        (0..3_600).map(|_| waiting(&UserId::from(Uuid::now_v7()), now)).collect();
    for (one, others) in left.chunks(100).zip(strangers.chunks(400)) {
        leave(&first.store, one).await;
        leave(&first.store, others).await;
    }
    first.stop(GONE_WITHIN).await;

    let (one, two) = tokio::join!(Node::with(options()), Node::with(options()));
    let held = [&one, &two].map(|node| node.delivery.held().waiting);
    assert_eq!(held[0] + held[1], left.len() + strangers.len(), "{held:?}");
    // Every user connects to both nodes and takes what is there.
    let mut sockets = Vec::new();
    for user in &users {
        for node in [&one, &two] {
            sockets.push(user.clone().at(&node.url()).connect(ACKS).await);
        }
    }
    let mut seen = Vec::new();
    eventually("all are delivered", async || {
        for socket in &mut sockets {
            for frame in socket.round_trip().await {
                let frame = serde_json::from_str(&frame).unwrap();
                socket.acknowledge(&frame).await;
                seen.push(id_of(&frame));
            }
        }
        let delivered = [&one, &two].map(|node| node.delivery.ended(Outcome::Delivered));
        delivered.iter().sum::<u64>() == left.len() as u64
    })
    .await;
    seen.sort_unstable();
    let mut expected: Vec<_> = left.iter().map(|n| n.id.to_string()).collect();
    expected.sort_unstable();
    assert_eq!(seen, expected, "each of them once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promise_8_two_nodes_that_start_at_once_deliver_nothing_twice() {
    check_two_nodes_share_what_was_left(&Postgres::shared().await.database().await).await;
}

#[tokio::test]
async fn promise_8_a_crash_loses_only_what_was_deferred() {
    let file = SqliteFile::new();
    let serve = || {
        Doorstep::serve(&file.url())
            .file("doorstep.toml", "[delivery.kinds.welcome]\npolicy = \"inbox\"")
    };
    let server = serve().start().await;
    let ada = User::register(server.url(), "ada").await;
    ada.has("1000.00").await;
    eventually("one is kept, one is deferred", async || {
        let waiting = Scrape::of(server.url()).await.sum("doorstep_notifications_waiting", &[]);
        waiting > 0.5 && ada.get("/v1/me").await.1["unread"] == 1
    })
    .await;
    server.kill().await;

    let server = serve().start().await;
    let ada = ada.at(server.url());
    let mut socket = ada.connect(ACKS).await;
    let welcome = socket.notification().await;
    assert_eq!(welcome["kind"], "welcome");
    socket.acknowledge(&welcome).await;
    assert!(socket.round_trip().await.is_empty());
    // The popup is lost. The money is not.
    ada.has("1000.00").await;
    server.terminate();
    assert_eq!(server.wait().await.code, Some(0));
}

/// Two processes on one database: what one leaves reaches its users at the other, which keeps running.
#[tokio::test]
async fn promise_8_a_running_node_takes_up_what_a_stopped_one_left() {
    const KEEPS: &str = "[trading]\nenabled = false\n[delivery]\nttl = \"1h\"";
    let database = Postgres::shared().await.database().await;
    let open = || Door::of(Doorstep::serve(&database), KEEPS);
    let (first, mut second) = (open().await, open().await);
    // Eve is connected to the second node all the time, Ada connects later, and Dan never does.
    let mut eve = second.user("eve").connect(ACKS).await;
    let publish = async |user: &str, ttl: u32, payload: &str| {
        let body = json!({"user_id": user, "kind": "news", "ttl": ttl, "payload": payload});
        first.backend.publish(&body).await
    };
    for n in 0..3 {
        for user in ["eve", "ada"] {
            publish(user, 3600, &format!("{user} {n}")).await;
        }
    }
    publish("dan", 2, "dan").await;
    first.server.terminate();
    assert_eq!(first.server.wait().await.code, Some(0));

    let mut ada = second.user("ada").connect(ACKS).await;
    for (name, socket) in [("eve", &mut eve), ("ada", &mut ada)] {
        for n in 0..3 {
            let frame = socket.notification().await;
            assert_eq!(frame["payload"], format!("{name} {n}"));
            socket.acknowledge(&frame).await;
        }
    }
    second.server.logged("outcome=\"delivered\"", 6).await;
    second.server.logged("outcome=\"expired\"", 1).await;
    for socket in [&mut eve, &mut ada] {
        assert!(socket.round_trip().await.is_empty(), "each once");
    }
    second.server.terminate();
    let finished = second.server.wait().await;
    assert_eq!(finished.code, Some(0));
    assert!(finished.stderr.contains("handed_over=0"), "{}", finished.stderr);
}
