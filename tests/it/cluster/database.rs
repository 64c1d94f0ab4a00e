//! PostgreSQL is restarted under load.

use doorstep_tests::nats::NatsServer;
use doorstep_tests::postgres::{Durability, Postgres};

use super::Nodes;
use super::load::{Load, Receiver};

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_postgresql_loses_nothing_that_was_accepted() {
    if std::env::var_os("TEST_DATABASE_URL").is_some() {
        return;
    }
    // Its own server, so that other tests are not affected. What was accepted must be on the disk.
    let mut postgres = Postgres::start(Durability::Durable).await;
    let database = postgres.database().await;
    let nats = NatsServer::start();
    let url = nats.url();
    let receiver = Receiver::new().await;
    let settings =
        format!("database = \"{database}\"\n[trading]\nenabled = false\n{}", receiver.settings());
    let nodes = Nodes::through(vec![nats], &url, 2, &settings).await;
    let users = [("ada", "inbox"), ("bob", "inbox"), ("cy", "deferred")];
    let load = Load::start(&nodes, receiver, &users).await;
    postgres.stop();
    load.is_refused(2).await;
    postgres.start_again();
    for node in 0..2 {
        nodes.is_ready(node).await;
    }
    load.goes_on().await;
    assert_eq!(load.connections(), users.len(), "all connections have stayed");
    load.end().await.all_once().await;
}
