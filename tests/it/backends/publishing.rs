//! Publishing: what is answered at once, later, and to a repeat; and who is there.

use serde_json::{Value, json};

use super::{Door, states};

fn news(user: &str, n: u32) -> Value {
    json!({"user_id": user, "kind": "news", "payload": {"n": n}})
}

#[tokio::test]
async fn what_is_published_before_the_socket_is_up_waits_at_the_door() {
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
    assert_eq!(states(&answers), ["waiting"], "the second was over before the notification");
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
    // Answered if it came before the stop, and refused a connection if not; held up by it never.
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
async fn who_is_there_can_be_asked_for_one_and_for_many() {
    let door = Door::open().await;
    let socket = door.user("a/b c").connect("doorstep.plain.v1").await;
    let (_, one) = door.backend.get("/v1/users/a%2Fb%20c/presence").await;
    assert_eq!(one, json!({"user_id": "a/b c", "online": true}));
    let body = json!({"user_ids": ["zoë", "a/b c"]});
    let (_, many) = door.backend.post("/v1/presence", body.to_string()).await;
    let expected = [("zoë", false), ("a/b c", true)];
    let expected = expected.map(|(user, online)| json!({"user_id": user, "online": online}));
    assert_eq!(many, json!({"presence": expected}));
    drop(socket);
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
