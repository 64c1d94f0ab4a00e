//! NATS is far away.

use doorstep_tests::freezing_proxy::FreezingProxy;
use doorstep_tests::nats::NatsServer;

use super::Nodes;
use super::load::{Load, Receiver};
use crate::backends::BARE;

#[tokio::test(flavor = "multi_thread")]
async fn nodes_work_with_a_slow_nats() {
    let nats = NatsServer::start();
    let proxy = FreezingProxy::before_nats(&nats.url()).await;
    let receiver = Receiver::new().await;
    let settings = format!("{BARE}\n{}", receiver.settings());
    let nodes = Nodes::through(vec![nats], proxy.url(), 2, &settings).await;
    proxy.slow_down(100..200);
    let users: Vec<String> = (0..8).map(|n| format!("user-{n}")).collect();
    let users: Vec<_> = users.iter().map(|user| (&**user, "deferred")).collect();
    let mut load = Load::start(&nodes, receiver, &users).await;
    // Two nodes want to end each, for as long as they do not hear of each other.
    load.read_twice();
    load.goes_on().await;
    for node in 0..2 {
        nodes.is_ready(node).await;
    }
    assert_eq!(load.connections(), 2 * users.len(), "all connections have stayed");
    load.end().await.all_once().await;
}
