//! Three servers of NATS that replicate the log. Each is killed under load, and comes back.

use doorstep_tests::nats::NatsCluster;

use super::Nodes;
use super::load::{Load, Receiver};
use crate::backends::BARE;

#[tokio::test(flavor = "multi_thread")]
async fn each_replica_may_be_killed_and_come_back() {
    let receiver = Receiver::new().await;
    let nats = NatsCluster::start();
    let urls = nats.urls().join(",");
    let settings = format!("{BARE}\n{}", receiver.settings());
    let mut nodes = Nodes::through(nats.servers, &urls, 3, &settings).await;
    let users = [("ada", "deferred"), ("bob", "deferred"), ("cy", "deferred")];
    let load = Load::start(&nodes, receiver, &users).await;
    for replica in 0..3 {
        nodes.nats[replica].kill();
        load.goes_on().await;
        nodes.nats[replica].start_again();
        load.goes_on().await;
    }
    assert_eq!(load.connections(), users.len(), "all connections have stayed");
    for node in 0..3 {
        nodes.is_ready(node).await;
    }
    let told = load.end().await;
    told.all_once().await;
}
