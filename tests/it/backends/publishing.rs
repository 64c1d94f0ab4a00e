//! Publishing: immediate responses, responses that wait for the outcome, repeated ids, and presence.

use doorstep_tests::client::User;
use doorstep_tests::postgres::Postgres;
use doorstep_tests::scrape::Scrape;
use doorstep_tests::server::{Doorstep, SqliteFile};
use serde_json::{Value, json};
use sqlx::Connection as _;
use tokio::io::AsyncWriteExt as _;

use super::{Backend, Door, states, token};
use crate::node::eventually;

fn news(user: &str, n: u32) -> Value {
    json!({"user_id": user, "kind": "news", "payload": {"n": n}})
}

#[tokio::test]
async fn a_notification_published_before_the_socket_is_open_waits() {
    let door = Door::open().await;
    let answers = door.backend.publish(&news("customer/42", 1)).await;
    assert_eq!(states(&answers), ["waiting"]);
    let id = answers[0]["id"].as_str().unwrap();
    let state = door.backend.state(id).await;
    assert_eq!((&state["state"], &state["ended_at"]), (&json!("waiting"), &Value::Null));

    let mut socket = door.user("customer/42").connect("doorstep.v1").await;
    let frame = socket.notification().await;
    assert_eq!((&frame["id"], &frame["payload"]), (&answers[0]["id"], &json!({"n": 1})));
    assert_eq!(door.backend.state(id).await["state"], "in_flight");
    socket.acknowledge(&frame).await;
    let (_, state) = door.backend.get(&format!("/v1/notifications/{id}?wait=60")).await;
    assert_eq!(state["state"], "delivered");
    assert!(state["ended_at"].as_str().unwrap() >= state["created_at"].as_str().unwrap());
}

#[tokio::test]
async fn an_array_is_judged_item_by_item_and_keeps_its_order() {
    let door = Door::open().await;
    let body = json!([
        news("ada", 1),
        {"user_id": "ada", "kind": "no news", "payload": 2},
        {"user_id": "ada", "kind": "news", "payload": 3, "ttl": 0},
        7,
        news("ada", 4),
    ]);
    let answers = door.backend.publish(&body).await;
    assert_eq!(states(&answers), ["waiting", "rejected", "expired", "rejected", "waiting"]);
    assert_eq!(answers[1]["reason"], "invalid");
    assert_eq!(answers[1]["errors"][0]["field"], "kind");
    let mut socket = door.user("ada").connect("doorstep.plain.v1").await;
    for n in [1, 4] {
        assert_eq!(socket.notification().await["payload"]["n"], n);
    }
    assert_eq!(door.backend.publish(&json!([])).await, Vec::<Value>::new());
}

#[tokio::test]
async fn an_id_that_comes_again_gets_the_first_answer_and_no_second_push() {
    let door = Door::open().await;
    let mut body = news("ada", 1);
    body["id"] = json!("0192f0c1-2345-7abc-8def-0123456789ab");
    let first = door.backend.publish(&body).await;
    assert_eq!(first[0]["id"], body["id"]);
    assert_eq!(door.backend.publish(&body).await, first);
    assert_eq!(states(&door.backend.publish(&json!([body, body])).await), ["waiting", "waiting"]);

    let mut socket = door.user("ada").connect("doorstep.plain.v1").await;
    assert_eq!(socket.notification().await["id"], body["id"]);
    door.backend.get("/v1/notifications/0192f0c1-2345-7abc-8def-0123456789ab?wait=60").await;
    assert_eq!(door.backend.publish(&body).await, first, "also after its end");
    door.backend.publish(&news("ada", 2)).await;
    assert_eq!(socket.notification().await["payload"]["n"], 2, "nothing in between");
}

#[tokio::test]
async fn an_answer_can_wait_for_the_outcome() {
    let door = Door::open().await;
    let mut socket = door.user("ada").connect("doorstep.v1").await;
    let publish = async {
        door.backend.publish_at("/v1/notifications?wait=60", &json!([news("ada", 1)])).await
    };
    let client = async {
        let frame = socket.notification().await;
        socket.acknowledge(&frame).await;
    };
    let (answers, ()) = tokio::join!(publish, client);
    assert_eq!(states(&answers), ["delivered"]);
    let soon = json!({"user_id": "bob", "kind": "news", "payload": 1, "ttl": 1});
    let answers = door.backend.publish_at("/v1/notifications?wait=60", &soon).await;
    assert_eq!(states(&answers), ["expired"]);
    let answers = door.backend.publish_at("/v1/notifications?wait=1", &news("bob", 1)).await;
    assert_eq!(states(&answers), ["waiting"], "the wait of a second ends before the TTL");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_who_waits() {
    let door = Door::open().await;
    let backend = door.backend.clone();
    let waiting = tokio::spawn(async move {
        backend.publish_at("/v1/notifications?wait=60", &news("nobody", 1)).await
    });
    while door.backend.get("/v1/users/nobody/presence").await.0 != 200 {}
    door.server.terminate();
    let stopped = door.server.wait().await;
    assert_eq!(stopped.code, Some(0), "{}", stopped.stderr);
    // The request either came before the stop and got a response, or its connection was refused.
    if let Ok(answers) = waiting.await {
        assert_eq!(states(&answers), ["waiting"]);
    }
}

#[tokio::test]
async fn a_policy_and_a_topic_can_be_said_for_one_notification() {
    let door = Door::open().await;
    let mut body = news("ada", 1);
    body["policy"] = json!("immediate");
    assert_eq!(states(&door.backend.publish(&body).await), ["expired"]);
    let topic = |n| json!({"user_id": "ada", "kind": "news", "payload": {"n": n}, "topic": "t"});
    let older = door.backend.publish(&topic(1)).await;
    door.backend.publish(&topic(2)).await;
    let state = door.backend.state(older[0]["id"].as_str().unwrap()).await;
    assert_eq!(state["state"], "replaced");
}

#[tokio::test]
async fn presence_can_be_queried_for_one_user_and_for_many() {
    let door = Door::open().await;
    let socket = door.user("a/b c").connect("doorstep.plain.v1").await;
    // The client's upgrade completes a moment before the connection is registered.
    eventually("the user is there", async || {
        let (_, one) = door.backend.get("/v1/users/a%2Fb%20c/presence").await;
        one == json!({"user_id": "a/b c", "online": true})
    })
    .await;
    let body = json!({"user_ids": ["zoë", "a/b c"]});
    let (_, many) = door.backend.post("/v1/presence", body.to_string()).await;
    let expected = [("zoë", false), ("a/b c", true)];
    let expected = expected.map(|(user, online)| json!({"user_id": user, "online": online}));
    assert_eq!(many, json!({"presence": expected}));
    let (_, nobody) = door.backend.get("/v1/users/nobody/presence").await;
    assert_eq!(nobody, json!({"user_id": "nobody", "online": false}));
    let thousand = json!({"user_ids": vec!["a/b c"; 1000]});
    let (status, many) = door.backend.post("/v1/presence", thousand.to_string()).await;
    assert_eq!((status, many["presence"].as_array().unwrap().len()), (200, 1000));
    drop(socket);
    eventually("the user has gone", async || {
        door.backend.get("/v1/users/a%2Fb%20c/presence").await.1["online"] == false
    })
    .await;
}

#[tokio::test]
async fn a_thousand_at_once_are_taken() {
    let door = Door::open().await;
    let batch: Vec<_> = (0..1000).map(|n| news(&format!("user-{n}"), n)).collect();
    let answers = door.backend.publish(&json!(batch)).await;
    assert_eq!(answers.len(), 1000);
    assert!(states(&answers).iter().all(|state| *state == "waiting"));
    let mut socket = door.user("user-999").connect("doorstep.plain.v1").await;
    assert_eq!(socket.notification().await["payload"]["n"], 999);
}

#[tokio::test]
async fn an_id_with_another_body_gets_the_first_answer_too() {
    let door = Door::open().await;
    let with_id = |user: &str, n: u32| {
        let mut body = news(user, n);
        body["id"] = json!("0192F0C1-2345-7ABC-8DEF-0123456789AB");
        body
    };
    let first = door.backend.publish(&with_id("ada", 1)).await;
    assert_eq!(first[0]["id"], "0192f0c1-2345-7abc-8def-0123456789ab", "as ids are written here");
    let mut now_or_never = with_id("ada", 2);
    now_or_never["ttl"] = json!(0);
    for other in [with_id("ada", 2), with_id("bob", 3), now_or_never] {
        assert_eq!(door.backend.publish(&other).await, first);
    }
    let mut bob = door.user("bob").connect("doorstep.plain.v1").await;
    assert!(bob.round_trip().await.is_empty());
    let mut ada = door.user("ada").connect("doorstep.plain.v1").await;
    assert_eq!(ada.notification().await["payload"]["n"], 1);
    assert!(ada.round_trip().await.is_empty());
}

#[tokio::test]
async fn after_a_restart_a_repeated_id_is_not_pushed_twice() {
    let database = SqliteFile::new();
    let file = "[trading]\nenabled = false\n[inbox]\nenabled = false\n";
    let door = Door::of(Doorstep::serve(&database.url()), file).await;
    let mut body = news("ada", 1);
    body["id"] = json!("0192f0c1-2345-7abc-8def-0123456789ab");
    body["ttl"] = json!(3600);
    let first = door.backend.publish(&body).await;
    door.server.terminate();
    assert_eq!(door.server.wait().await.code, Some(0));
    let server = door.call.start().await;
    let backend = Backend::new(server.url(), &door.backend.key);
    assert_eq!(backend.publish(&body).await, first);
    let figures = Scrape::of(server.url()).await;
    assert!((figures.sum("doorstep_notifications_waiting", &[]) - 1.0).abs() < 0.5, "{figures:?}");
    let mut socket =
        User::with_token(server.url(), "ada", &token("ada")).connect("doorstep.plain.v1").await;
    assert_eq!(socket.notification().await["id"], body["id"]);
    assert!(socket.round_trip().await.is_empty());
    let (_, state) = backend
        .get(&format!("/v1/notifications/{}?wait=60", first[0]["id"].as_str().unwrap()))
        .await;
    assert_eq!(state["state"], "delivered");
}

#[tokio::test]
async fn an_array_is_accepted_completely_although_the_client_hangs_up() {
    let url = Postgres::shared().await.database().await;
    let door = Door::of(Doorstep::serve(&url), "[trading]\nenabled = false\n").await;
    let mut socket = door.user("ada").connect("doorstep.plain.v1").await;
    // Another connection locks the table, which holds up the first of the two.
    let mut other = sqlx::PgConnection::connect(&url).await.unwrap();
    let mut watch = sqlx::PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE inbox").execute(&mut other).await.unwrap();
    let kept = json!({"user_id": "ada", "kind": "news", "payload": 1, "policy": "inbox"});
    let body = json!([kept, {"user_id": "ada", "kind": "news", "payload": 2}]).to_string();
    let address = door.server.url().trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/notifications HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        door.backend.key,
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let waits = "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
         AND datname = current_database()";
    eventually("somebody waits for the table", async || {
        sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut watch).await.unwrap() > 0
    })
    .await;
    drop(stream);
    // Gives the server time to notice that the client has gone.
    for _ in 0..50 {
        door.backend.get("/v1/users/ada/presence").await;
    }
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    let mut got = Vec::new();
    for _ in 0..2 {
        got.push(socket.notification().await["payload"].as_u64().unwrap());
    }
    got.sort_unstable();
    assert_eq!(got, [1, 2]);
}
