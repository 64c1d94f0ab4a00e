//! A node writes to the inbox, and dies before the other nodes know.

use doorstep_tests::freezing_proxy::FreezingProxy;
use doorstep_tests::nats::NatsServer;
use doorstep_tests::postgres::Postgres;
use doorstep_tests::server::Doorstep;
use serde_json::{Value, json};

use super::{Nodes, draft};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_reaches_a_user_at_another_node_although_its_node_dies() {
    let nats = NatsServer::start();
    let direct = nats.url();
    let proxy = FreezingProxy::before_nats(&direct).await;
    let database = Postgres::shared().await.database().await;
    let settings = format!("database = \"{database}\"\n[trading]\nenabled = false\n");
    let mut nodes = Nodes::through(nats, proxy.url(), 1, &settings).await;
    let call = Doorstep::new(&["--listen", "127.0.0.1:0"]);
    nodes.add_with(call.env("DOORSTEP_CLUSTER__NATS", &direct)).await;
    nodes.is_ready(1).await;
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
