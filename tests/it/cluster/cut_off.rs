//! A node cannot reach NATS, and its clients reach it.

use doorstep_tests::freezing_proxy::FreezingProxy;
use doorstep_tests::nats::NatsServer;
use doorstep_tests::server::Doorstep;
use serde_json::{Value, json};

use super::{Nodes, draft};
use crate::backends::BARE;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_cut_off_serves_what_it_knows_and_comes_back_by_itself() {
    let nats = NatsServer::start();
    let direct = nats.url();
    let proxy = FreezingProxy::before_nats(&direct).await;
    let mut nodes = Nodes::through(vec![nats], proxy.url(), 1, BARE).await;
    let call = Doorstep::new(&["--listen", "127.0.0.1:0"]);
    nodes.add_with(call.env("DOORSTEP_CLUSTER__NATS", &direct)).await;
    nodes.is_ready(1).await;
    let mut ada = nodes.user(0, "ada").connect("doorstep.v1").await;
    // It waits for Bob, and both nodes know that.
    let (waits, _) = nodes.publish(1, draft("bob", 1)).await;
    nodes.becomes(0, &waits, "waiting").await;
    proxy.freeze(true);
    // Before the node has noticed, its append is lost or late: nobody knows.
    let mut unsure = draft("ada", 1);
    unsure["id"] = json!("0190b5a0-0000-7000-8000-000000000001");
    refused(&nodes, &unsure).await;
    nodes.says(0, (200, "degraded")).await;
    let mut new = draft("ada", 2);
    new["id"] = json!("0190b5a0-0000-7000-8000-000000000002");
    refused(&nodes, &new).await;
    // The other node goes on.
    let (meanwhile, _) = nodes.publish(1, draft("ada", 3)).await;
    nodes.is_ready(1).await;
    // What the node knows is pushed, and its acknowledgement is kept.
    let mut bob = nodes.user(0, "bob").connect("doorstep.v1").await;
    let shown = bob.notification().await;
    assert_eq!(shown["id"], *waits);
    bob.acknowledge(&shown).await;
    assert_eq!(bob.round_trip().await, [""; 0]);
    assert_eq!(nodes.backend(1).state(&waits).await["state"], "waiting");
    proxy.freeze(false);
    nodes.is_ready(0).await;
    for node in 0..2 {
        nodes.becomes(node, &waits, "delivered").await;
    }
    // Sent again, each is accepted once. The connection has stayed.
    for draft in [&unsure, &new, &unsure, &new] {
        nodes.publish(0, draft.clone()).await;
    }
    let (last, _) = nodes.publish(0, draft("ada", 4)).await;
    let mut ids = Vec::new();
    while ids.last() != Some(&json!(last)) {
        let shown = ada.notification().await;
        ada.acknowledge(&shown).await;
        ids.push(shown["id"].clone());
    }
    ids.sort_by_key(Value::to_string);
    let mut expected = [unsure["id"].clone(), new["id"].clone(), json!(meanwhile), json!(last)];
    expected.sort_by_key(Value::to_string);
    assert_eq!(ids, expected);
}

/// The first node accepts nothing, and says what to do.
async fn refused(nodes: &Nodes, draft: &Value) {
    let request =
        reqwest::Client::new().post(format!("{}/v1/notifications", nodes.server(0).url()));
    let request = request.bearer_auth(&nodes.backend(0).key).json(draft);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    let problem: Value = answer.json().await.unwrap();
    assert!(
        problem["detail"].as_str().unwrap().contains("send again with the same id"),
        "{problem}"
    );
}
