//! Connections whose network is gone: nothing is closed, and nothing comes through.

use doorstep_tests::client::User;
use doorstep_tests::freezing_proxy::FreezingProxy;
use serde_json::json;

use super::{Healthy, door_with, until_connected};
use crate::backends::{Door, token};
use crate::node::eventually;

/// How many notifications are in flight when the network goes.
const IN_FLIGHT: u64 = 20;
/// How many are published before the server knows.
const UNKNOWING: u64 = 20;

#[tokio::test]
async fn a_half_open_connection_is_found_and_what_it_had_goes_to_the_next_one() {
    // Only the end of the connection may bring a second push: no push is repeated within an hour.
    let door = door_with("[delivery]\nttl = \"1h\"\nack_timeout = \"1h\"").await;
    let healthy = Healthy::at(&door).await;
    let proxy = FreezingProxy::before_node(door.server.url()).await;
    let user = User::with_token(proxy.url(), "hostile", &token("hostile"));
    let mut frozen = user.connect("doorstep.v1").await;
    let mut sent = Vec::new();
    let mut publish = async |number: u64| {
        let payload = json!({ "number": number });
        let body = json!({"user_id": "hostile", "kind": "numbered", "payload": payload});
        let accepted = door.backend.publish(&body).await.remove(0);
        assert_eq!(accepted["state"], "in_flight", "the server does not know yet");
        sent.push(accepted["id"].clone());
    };
    for number in 0..IN_FLIGHT {
        publish(number).await;
        assert_eq!(frozen.notification().await["payload"]["number"], number);
    }
    proxy.freeze(true);
    for number in IN_FLIGHT..IN_FLIGHT + UNKNOWING {
        publish(number).await;
    }
    // The heartbeat finds it, within 35 s.
    until_connected(&door, 0).await;
    let metrics = reqwest::get(format!("{}/metrics", door.server.url())).await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let ended = r#"doorstep_connections_ended_total{reason="unanswered"} 1"#;
    assert!(metrics.lines().any(|line| line == ended), "{metrics}");

    eventually("what it had waits for another connection", async || {
        let (_, user) = door.backend.get("/v1/users/hostile").await;
        user["waiting"] == IN_FLIGHT + UNKNOWING && user["in_flight"] == 0
    })
    .await;

    let mut next = door.user("hostile").connect("doorstep.v1").await;
    let mut got = Vec::new();
    for _ in 0..IN_FLIGHT + UNKNOWING {
        let notification = next.notification().await;
        next.acknowledge(&notification).await;
        got.push(notification["id"].clone());
    }
    assert_eq!(got, sent, "all of them, once, in their order");
    assert_eq!(next.round_trip().await, Vec::<String>::new());
    eventually("all are delivered", async || {
        let (_, user) = door.backend.get("/v1/users/hostile").await;
        user["waiting"] == 0 && user["in_flight"] == 0
    })
    .await;
    healthy.has_everything().await;
}

/// How many frames were put into outboxes so far.
async fn frames_queued(door: &Door) -> u64 {
    let metrics = reqwest::get(format!("{}/metrics", door.server.url())).await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let name = "doorstep_frames_queued_total{transport=\"websocket\"} ";
    metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap()
}

#[tokio::test]
async fn beside_a_half_open_connection_another_one_of_the_user_gets_everything_at_once() {
    let door = door_with("[delivery]\nttl = \"1h\"\nack_timeout = \"1h\"").await;
    let proxy = FreezingProxy::before_node(door.server.url()).await;
    let user = User::with_token(proxy.url(), "hostile", &token("hostile"));
    let _frozen = user.connect("doorstep.v1").await;
    let mut other = door.user("hostile").connect("doorstep.v1").await;
    until_connected(&door, 2).await;
    proxy.freeze(true);
    let text = "x".repeat(16 * 1024);
    let mut queued_before = 0;
    for number in 0_u64.. {
        let payload = json!({"number": number, "text": text});
        let body = json!({"user_id": "hostile", "kind": "numbered", "payload": payload});
        door.backend.publish(&body).await;
        let notification = other.notification().await;
        assert_eq!(notification["payload"]["number"], number);
        other.acknowledge(&notification).await;
        if number % 20 == 0 {
            let connections = door.backend.get("/v1/users/hostile").await.1["connections"].clone();
            assert_eq!(connections, 2, "nothing came without it, until it was gone");
            let queued = frames_queued(&door).await;
            // Its outbox and its socket are full, and the other one gets everything without it.
            if queued == queued_before + 20 {
                println!("passed over after {number}");
                break;
            }
            queued_before = queued;
        }
    }
    assert_eq!(other.round_trip().await.iter().filter(|text| !text.contains("retract")).count(), 0);
}
