//! Recall, retract, dismiss and disconnect, over real sockets.

use serde_json::{Value, json};

use super::{BARE, Backend, Door, states};
use doorstep_tests::client::Socket;
use doorstep_tests::server::{Doorstep, SqliteFile};

const ACKS: &str = "doorstep.v1";

impl Backend {
    /// The response, with its head.
    pub(crate) async fn delete_whole(&self, path: &str) -> reqwest::Response {
        let request = self.http.delete(format!("{}{path}", self.url)).bearer_auth(&self.key);
        request.send().await.unwrap()
    }

    pub(crate) async fn delete(&self, path: &str) -> (u16, Value) {
        super::answer(self.http.delete(format!("{}{path}", self.url)).bearer_auth(&self.key)).await
    }

    pub(crate) async fn send_to(&self, user: &str, more: Value) -> String {
        let mut body = json!({"user_id": user, "kind": "order.shipped", "payload": 1});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let sent = self.publish(&body).await;
        assert_ne!(states(&sent)[0], "rejected", "{sent:?}");
        sent[0]["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn recall(&self, id: &str) -> Value {
        let (status, recall) = self.delete(&format!("/v1/notifications/{id}")).await;
        assert_eq!(status, 200, "{recall}");
        assert_eq!(recall["id"], id);
        json!([recall["state"], recall["pushed"]])
    }
}

async fn retracted(socket: &mut Socket, id: &str, reason: &str) {
    let frame = socket.frame().await;
    assert_eq!(frame, json!({"type": "retract", "id": id, "reason": reason}));
}

#[tokio::test]
async fn a_recall_says_whether_it_came_in_time_and_says_so_again() {
    let door = Door::open().await;
    let waits = door.backend.send_to("ada", json!({})).await;
    for _ in 0..2 {
        assert_eq!(door.backend.recall(&waits).await, json!(["recalled", false]));
    }
    assert_eq!(door.backend.state(&waits).await["state"], "recalled");
    let mut ada = door.user("ada").connect(ACKS).await;
    let shown = door.backend.send_to("ada", json!({})).await;
    assert_eq!(ada.notification().await["id"], shown, "the first one never came");
    assert_eq!(door.backend.recall(&shown).await, json!(["recalled", true]));
    retracted(&mut ada, &shown, "recalled").await;
    let delivered = door.backend.send_to("ada", json!({})).await;
    let frame = ada.notification().await;
    ada.acknowledge(&frame).await;
    let (_, state) = door.backend.get(&format!("/v1/notifications/{delivered}?wait=30")).await;
    assert_eq!(state["state"], "delivered");
    assert_eq!(door.backend.recall(&delivered).await, json!(["delivered", true]));
    for unknown in ["01890000-0000-7000-8000-000000000000", "nonsense"] {
        let (status, _) = door.backend.delete(&format!("/v1/notifications/{unknown}")).await;
        assert_eq!(status, 404, "{unknown}");
    }
}

#[tokio::test]
async fn everything_of_a_user_or_of_a_topic_is_recalled() {
    let door = Door::open().await;
    for more in [json!({}), json!({"topic": "a"}), json!({"topic": "b"})] {
        door.backend.send_to("ada/1", more).await;
    }
    door.backend.send_to("bob", json!({})).await;
    let recalled =
        async |query: &str| door.backend.delete(&format!("/v1/notifications{query}")).await;
    assert_eq!(recalled("?user_id=ada%2F1&topic=a").await, (200, json!({"recalled": 1})));
    assert_eq!(recalled("?user_id=ada%2F1").await, (200, json!({"recalled": 2})));
    assert_eq!(recalled("?user_id=ada%2F1").await, (200, json!({"recalled": 0})));
    for query in ["", "?topic=a", "?user_id=", "?user_id=ada&topic=%20", "?user_id=ada&kind=k"] {
        assert_eq!(recalled(query).await.0, 422, "{query}");
    }
    let (_, bob) = door.backend.get("/v1/users/bob").await;
    assert_eq!(bob["waiting"], 1);
}

#[tokio::test]
async fn an_item_of_the_inbox_is_recalled_whatever_its_state() {
    let file = SqliteFile::new();
    let call = Doorstep::serve(&file.url());
    let door = Door::of(call, "[trading]\nenabled = false").await;
    let kept = json!({"policy": "inbox"});
    let waits = door.backend.send_to("ada", kept.clone()).await;
    assert_eq!(door.backend.get("/v1/users/ada").await.1["unread"], 1);
    assert_eq!(door.backend.recall(&waits).await[0], "recalled");
    assert_eq!(door.backend.get("/v1/users/ada").await.1["unread"], 0);
    let mut ada = door.user("ada").connect(ACKS).await;
    let in_flight = door.backend.send_to("ada", kept.clone()).await;
    assert_eq!(ada.notification().await["id"], in_flight, "the first one never came");
    assert_eq!(door.backend.recall(&in_flight).await, json!(["recalled", true]));
    retracted(&mut ada, &in_flight, "recalled").await;
    let read = door.backend.send_to("ada", kept.clone()).await;
    let frame = ada.notification().await;
    ada.acknowledge(&frame).await;
    door.backend.get(&format!("/v1/notifications/{read}?wait=30")).await;
    assert_eq!(door.backend.recall(&read).await, json!(["delivered", true]));
    retracted(&mut ada, &read, "recalled").await;
    assert_eq!(door.backend.get("/v1/users/ada").await.1["unread"], 0);
    drop(ada);
    for _ in 0..3 {
        door.backend.send_to("bob", kept.clone()).await;
    }
    let all = door.backend.delete("/v1/notifications?user_id=bob").await;
    assert_eq!(all, (200, json!({"recalled": 3})));
}

#[tokio::test]
async fn the_first_acknowledgement_and_a_dismissal_reach_the_other_connections() {
    let door = Door::with(BARE).await;
    let ada = door.user("ada");
    let (mut phone, mut laptop) = (ada.connect(ACKS).await, ada.connect(ACKS).await);
    let mut plain = ada.connect("doorstep.plain.v1").await;
    // All three are there.
    while door.backend.get("/v1/users/ada").await.1["connections"] != 3 {}
    let id = door.backend.send_to("ada", json!({"ttl": 600})).await;
    let (on_phone, on_laptop) = (phone.notification().await, laptop.notification().await);
    assert_eq!((&on_phone["id"], &on_laptop["id"]), (&json!(id), &json!(id)));
    // The plain connection was written it, which is an acknowledgement.
    assert_eq!(plain.notification().await["id"], id);
    retracted(&mut phone, &id, "acknowledged_elsewhere").await;
    retracted(&mut laptop, &id, "acknowledged_elsewhere").await;
    phone.send(&json!({"type": "dismiss", "id": id})).await;
    retracted(&mut laptop, &id, "dismissed_elsewhere").await;
    assert!(phone.round_trip().await.is_empty() && plain.round_trip().await.is_empty());
}

#[tokio::test]
async fn a_backend_sees_a_user_and_disconnects_them() {
    let door = Door::open().await;
    let overview = async || door.backend.get("/v1/users/ada").await;
    let nothing = json!({"user_id": "ada", "online": false, "connections": 0, "waiting": 0,
        "in_flight": 0, "unread": 0});
    assert_eq!(overview().await, (200, nothing));
    door.backend.send_to("ada", json!({})).await;
    assert_eq!(overview().await.1["waiting"], 1);
    let mut sockets = [door.user("ada").connect(ACKS).await, door.user("ada").connect(ACKS).await];
    for socket in &mut sockets {
        socket.notification().await;
    }
    // The second arrival offered it again; until that is done, it counts as waiting.
    while overview().await.1["in_flight"] != 1 {}
    let there = overview().await.1;
    assert_eq!(json!([there["online"], there["connections"]]), json!([true, 2]));
    let closed = door.backend.delete("/v1/users/ada/connections").await;
    assert_eq!(closed, (200, json!({"closed": 2})));
    for socket in &mut sockets {
        assert_eq!(socket.close_code().await, 4403);
    }
    assert_eq!(door.backend.delete("/v1/users/ada/connections").await.1, json!({"closed": 0}));
}
