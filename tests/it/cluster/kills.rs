//! Each node is killed in turn while notifications are published to it.

use doorstep_tests::nats::NatsServer;
use doorstep_tests::postgres::Postgres;
use doorstep_tests::server::Server;

use super::Nodes;
use super::load::{Load, Receiver};

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_each_node_in_turn_loses_nothing_that_was_accepted() {
    let nats = NatsServer::start();
    let url = nats.url();
    let database = Postgres::shared().await.database().await;
    let receiver = Receiver::new().await;
    let settings =
        format!("database = \"{database}\"\n[trading]\nenabled = false\n{}", receiver.settings());
    let mut nodes = Nodes::through(vec![nats], &url, 3, &settings).await;
    let users = [("ada", "deferred"), ("bob", "deferred"), ("cy", "deferred"), ("dan", "inbox")];
    let load = Load::start(&nodes, receiver, &users).await;
    for victim in 0..3 {
        nodes.replace(victim, Server::kill).await;
        load.moved(&nodes);
        nodes.is_ready(victim).await;
        load.goes_on().await;
    }
    let told = load.end().await;
    // Only the telling of an outcome may be lost with a node.
    told.at_most_once();
}
