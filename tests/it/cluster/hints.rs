//! A node writes to the inbox, and the other nodes have to hear of it.

use doorstep_tests::freezing_proxy::FreezingProxy;
use doorstep_tests::nats::NatsServer;
use doorstep_tests::postgres::Postgres;
use doorstep_tests::server::Doorstep;
use serde_json::{Value, json};

use super::{Nodes, draft};

/// Two nodes with one inbox. The first reaches NATS through this proxy, the second at this address.
async fn two_nodes() -> (Nodes, FreezingProxy, String) {
    let nats = NatsServer::start();
    let direct = nats.url();
    let proxy = FreezingProxy::before_nats(&direct).await;
    let database = Postgres::shared().await.database().await;
    let settings = format!("database = \"{database}\"\n[trading]\nenabled = false\n");
    let mut nodes = Nodes::through(vec![nats], proxy.url(), 1, &settings).await;
    let call = Doorstep::new(&["--listen", "127.0.0.1:0"]);
    nodes.add_with(call.env("DOORSTEP_CLUSTER__NATS", &direct)).await;
    nodes.is_ready(1).await;
    (nodes, proxy, direct)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_reaches_a_user_at_another_node_although_its_node_dies() {
    let (mut nodes, proxy, _) = two_nodes().await;
    let mut ada = nodes.user(1, "ada").connect("doorstep.v1").await;
    let kept = |n: usize| {
        let mut kept = draft("ada", n);
        kept["policy"] = json!("inbox");
        kept["id"] = json!(format!("0190b5a0-0000-7000-8000-00000000000{n}"));
        kept
    };
    // What a node looks for when a user arrives is over.
    nodes.publish(1, kept(1)).await;
    let shown = ada.notification().await;
    ada.acknowledge(&shown).await;
    let kept = kept(2);
    // The database has it, and the other node does not hear of it.
    proxy.freeze(true);
    let (status, answer) = nodes.backend(0).post("/v1/notifications", kept.to_string()).await;
    nodes.doors.remove(0).server.kill().await;
    // What was not accepted is sent again.
    if status != 202 {
        assert_eq!(status, 503, "{answer}");
        assert_ne!(nodes.backend(0).publish(&kept).await[0]["state"], "rejected");
    }
    let shown: Value = ada.notification().await;
    assert_eq!(shown["id"], kept["id"]);
    ada.acknowledge(&shown).await;
    let (next, _) = nodes.publish(0, draft("ada", 3)).await;
    assert_eq!(ada.notification().await["id"], *next, "it is shown once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_while_a_node_was_cut_off_for_long_reaches_who_stayed_connected_to_it() {
    let (nodes, proxy, direct) = two_nodes().await;
    let mut ada = nodes.user(0, "ada").connect("doorstep.v1").await;
    // What a node looks for when a user arrives is over.
    let (first, _) = nodes.publish(0, draft("ada", 1)).await;
    let shown = ada.notification().await;
    assert_eq!(shown["id"], *first);
    ada.acknowledge(&shown).await;
    nodes.becomes(0, &first, "delivered").await;
    proxy.freeze(true);
    nodes.says(0, (200, "degraded")).await;
    let mut kept = draft("ada", 2);
    kept["policy"] = json!("inbox");
    let (kept, _) = nodes.publish(1, kept).await;
    // The log forgets after a minute what was written to an inbox. Here, at once.
    let log = async_nats::jetstream::new(async_nats::connect(&direct).await.unwrap());
    let stream = log.get_stream("DOORSTEP_doorstep").await.unwrap();
    stream.purge().filter("doorstep.doorstep.p.*").await.unwrap();
    proxy.freeze(false);
    let shown: Value = ada.notification().await;
    assert_eq!(shown["id"], *kept);
}
