//! What any node accepts reaches a user at any node, and ends once.

use serde_json::json;

use super::{Nodes, draft};

#[tokio::test(flavor = "multi_thread")]
async fn what_any_node_accepts_reaches_a_user_at_any_node() {
    let nodes = Nodes::start(3).await;
    // Before the user is there, at two nodes; and while they are.
    let (first, state) = nodes.publish(0, draft("ada", 1)).await;
    assert_eq!(state, "waiting");
    let (second, _) = nodes.publish(1, draft("ada", 2)).await;
    let mut socket = nodes.user(2, "ada").connect("doorstep.v1").await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let notification = socket.notification().await;
        ids.push(notification["id"].as_str().unwrap().to_owned());
        socket.acknowledge(&notification).await;
    }
    assert_eq!(ids, [first.clone(), second.clone()], "in the order of their acceptance");
    let (third, _) = nodes.publish(0, draft("ada", 3)).await;
    let notification = socket.notification().await;
    assert_eq!(notification["id"], *third);
    socket.acknowledge(&notification).await;
    // Every node knows every outcome.
    for id in [&first, &second, &third] {
        for node in 0..3 {
            nodes.becomes(node, id, "delivered").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_for_an_outcome_ends_when_another_node_tells_it() {
    let nodes = Nodes::start(2).await;
    let mut socket = nodes.user(1, "ada").connect("doorstep.v1").await;
    let waits = async {
        let answers =
            nodes.backend(0).post("/v1/notifications?wait=40", draft("ada", 1).to_string());
        let (status, answer) = answers.await;
        assert_eq!(status, 202, "{answer}");
        answer["notifications"][0].clone()
    };
    let acknowledges = async {
        let notification = socket.notification().await;
        socket.acknowledge(&notification).await;
    };
    let (answer, ()) = tokio::join!(waits, acknowledges);
    assert_eq!(answer["state"], "delivered");
    // A node that has not accepted it waits too.
    let (id, _) = nodes.publish(0, draft("bob", 2)).await;
    let mut socket = nodes.user(0, "bob").connect("doorstep.v1").await;
    let path = format!("/v1/notifications/{id}?wait=40");
    let acknowledges = async {
        let notification = socket.notification().await;
        socket.acknowledge(&notification).await;
    };
    let ((status, answer), ()) = tokio::join!(nodes.backend(1).get(&path), acknowledges);
    assert_eq!((status, &answer["state"]), (200, &json!("delivered")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_accepted_once_in_the_whole_cluster() {
    let nodes = Nodes::start(2).await;
    let id = "0190b5a0-0000-7000-8000-000000000001";
    let mut with_id = draft("ada", 1);
    with_id["id"] = json!(id);
    assert_eq!(nodes.publish(0, with_id.clone()).await, (id.into(), "waiting".into()));
    assert_eq!(nodes.publish(1, with_id.clone()).await, (id.into(), "waiting".into()));
    let mut socket = nodes.user(1, "ada").connect("doorstep.v1").await;
    let notification = socket.notification().await;
    socket.acknowledge(&notification).await;
    nodes.becomes(0, id, "delivered").await;
    for node in 0..2 {
        // A repeat gets the first answer.
        assert_eq!(nodes.publish(node, with_id.clone()).await, (id.into(), "waiting".into()));
    }
    // Another one shows that the repeats were not pushed.
    let (next, _) = nodes.publish(0, draft("ada", 2)).await;
    assert_eq!(socket.notification().await["id"], *next);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recall_at_any_node_takes_back_what_another_accepted_and_a_third_pushed() {
    let nodes = Nodes::start(3).await;
    let mut socket = nodes.user(1, "ada").connect("doorstep.v1").await;
    let (id, _) = nodes.publish(0, draft("ada", 1)).await;
    assert_eq!(socket.notification().await["id"], *id);
    let (status, answer) = delete(&nodes, 2, &format!("/v1/notifications/{id}")).await;
    assert_eq!((status, &answer["state"]), (200, &json!("recalled")), "{answer}");
    let frame = socket.frame().await;
    assert_eq!(frame, json!({"type": "retract", "id": id, "reason": "recalled"}));
    nodes.becomes(0, &id, "recalled").await;
    // All of a user, of which nobody was told yet.
    for n in 0..3 {
        nodes.publish(n, draft("bob", n)).await;
    }
    let (status, answer) = delete(&nodes, 1, "/v1/notifications?user_id=bob").await;
    assert_eq!((status, &answer["recalled"]), (200, &json!(3)), "{answer}");
    let (status, _) =
        delete(&nodes, 1, "/v1/notifications/0190b5a0-0000-7000-8000-00000000ffff").await;
    assert_eq!(status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_at_other_nodes_take_away_what_was_acknowledged_or_closed() {
    let nodes = Nodes::start(2).await;
    let mut here = nodes.user(0, "ada").connect("doorstep.v1").await;
    let mut there = nodes.user(1, "ada").connect("doorstep.v1").await;
    let (id, _) = nodes.publish(0, draft("ada", 1)).await;
    let shown = here.notification().await;
    assert_eq!(there.notification().await["id"], *id);
    here.acknowledge(&shown).await;
    let reason = |reason: &str| json!({"type": "retract", "id": id, "reason": reason});
    assert_eq!(there.frame().await, reason("acknowledged_elsewhere"));
    here.send(&json!({"type": "dismiss", "id": id})).await;
    assert_eq!(there.frame().await, reason("dismissed_elsewhere"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_disconnected_from_every_node() {
    let nodes = Nodes::start(2).await;
    let mut there = nodes.user(1, "ada").connect("doorstep.v1").await;
    let (status, _) = delete(&nodes, 0, "/v1/users/ada/connections").await;
    assert_eq!(status, 200);
    assert_eq!(there.close_code().await, 4403);
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_bounds_and_now_or_never_hold_across_nodes() {
    let nodes = Nodes::start(2).await;
    let about =
        |n: usize| json!({"user_id": "ada", "kind": "price", "topic": "acme", "payload": n});
    let (old, _) = nodes.publish(0, about(1)).await;
    let (new, _) = nodes.publish(1, about(2)).await;
    nodes.becomes(0, &old, "replaced").await;
    let mut socket = nodes.user(0, "ada").connect("doorstep.v1").await;
    assert_eq!(socket.notification().await["id"], *new);
    // Now or never: taken at another node, or by nobody.
    let mut now = draft("ada", 3);
    now["ttl"] = json!(0);
    let (taken, _) = nodes.publish(1, now.clone()).await;
    assert_eq!(socket.notification().await["id"], *taken);
    nodes.becomes(1, &taken, "delivered").await;
    now["user_id"] = json!("nobody");
    let (lost, _) = nodes.publish(1, now).await;
    nodes.becomes(0, &lost, "expired").await;
}

async fn delete(nodes: &Nodes, node: usize, path: &str) -> (u16, serde_json::Value) {
    let request = reqwest::Client::new().delete(format!("{}{path}", nodes.server(node).url()));
    let answer = request.bearer_auth(&nodes.backend(node).key).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}
