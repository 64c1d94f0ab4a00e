//! All nodes are stopped and started, one after the other, while notifications are published.

use super::Nodes;
use super::load::{Load, Receiver};

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_loses_nothing_and_shows_everything() {
    let receiver = Receiver::new().await;
    let mut nodes = Nodes::with(3, &receiver.settings()).await;
    let users = [("ada", "deferred"), ("bob", "deferred"), ("cy", "deferred")];
    let load = Load::start(&nodes, receiver, &users).await;
    for node in 0..3 {
        let finished = nodes
            .replace(node, async |server| {
                server.terminate();
                server.wait().await
            })
            .await;
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        load.moved(&nodes);
        nodes.is_ready(node).await;
        load.goes_on().await;
    }
    let told = load.end().await;
    told.all_once().await;
    for id in &told.accepted {
        assert_eq!(nodes.backend(0).state(id).await["state"], "delivered");
    }
}
