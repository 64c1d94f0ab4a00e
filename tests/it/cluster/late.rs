//! A node starts when much waits.

use std::time::Duration;

use doorstep_tests::scrape::Scrape;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Nodes;
use crate::backends::Backend;
use crate::node::eventually;

/// So many users, and so many notifications for each.
const USERS: usize = 400;
const EACH: usize = 50;
/// How many requests are under way.
const AT_ONCE: usize = 16;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_late_serves_nobody_before_it_knows_what_waits() {
    let mut nodes = Nodes::with(1, "[delivery]\nttl = \"10m\"\n").await;
    let publishes = (0..USERS).map(|user| {
        let draft = |n| {
            json!({"id": Uuid::now_v7(), "user_id": name(user), "kind": "news", "payload": {"n": n}})
        };
        publish(nodes.backend(0), (0..EACH).map(draft).collect())
    });
    stream::iter(publishes).buffer_unordered(AT_ONCE).collect::<()>().await;
    nodes.add().await;
    // Users who arrive before it is ready are sent away, and served when they come again.
    let mut sockets = Vec::new();
    for user in [0, USERS / 2, USERS - 1] {
        let user = nodes.user(1, &name(user));
        let socket = loop {
            match user.try_connect("doorstep.v1").await {
                Ok(socket) => break socket,
                Err(refused) => assert_eq!(refused, Some(503)),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        sockets.push(socket);
    }
    nodes.is_ready(1).await;
    let scrape = Scrape::of(nodes.server(1).url()).await;
    let open = scrape.sum("doorstep_cluster_open_notifications", &[]);
    assert_eq!(open.to_string(), (USERS * EACH).to_string(), "it knows of all");
    for mut socket in sockets {
        for n in 0..EACH {
            let shown = socket.notification().await;
            assert_eq!(shown["payload"]["n"], n);
        }
    }
}

fn name(user: usize) -> String {
    format!("user-{user}")
}

/// Publishes these until all of them wait: a busy machine may need longer than the node waits for NATS.
async fn publish(backend: &Backend, drafts: Value) {
    eventually("all are accepted", async || {
        let (status, answer) = backend.post("/v1/notifications", drafts.to_string()).await;
        let waits = |answer: &Value| answer["state"] == "waiting";
        status == 202 && answer["notifications"].as_array().unwrap().iter().all(waits)
    })
    .await;
}
