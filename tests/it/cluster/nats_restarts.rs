//! NATS ends under load, and starts again with what it has on its disk.

use super::Nodes;
use super::load::{Load, Receiver};

#[tokio::test(flavor = "multi_thread")]
async fn nats_may_be_stopped_or_killed_and_started_again() {
    let receiver = Receiver::new().await;
    let mut nodes = Nodes::with(3, &receiver.settings()).await;
    let users = [("ada", "deferred"), ("bob", "deferred"), ("cy", "deferred")];
    let load = Load::start(&nodes, receiver, &users).await;
    for end in [doorstep_tests::nats::NatsServer::stop, doorstep_tests::nats::NatsServer::kill] {
        end(&mut nodes.nats[0]);
        for node in 0..3 {
            nodes.says(node, (200, "degraded")).await;
        }
        load.is_refused(100).await;
        nodes.nats[0].start_again();
        for node in 0..3 {
            nodes.is_ready(node).await;
        }
        load.goes_on().await;
    }
    assert_eq!(load.connections(), users.len(), "all connections have stayed");
    let told = load.end().await;
    told.all_once().await;
}
