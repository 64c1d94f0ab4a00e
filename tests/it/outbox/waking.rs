//! How the consumer learns that something was written: by NOTIFY where that comes through, and else by polling.

use doorstep_tests::freezing_proxy::FreezingProxy;
use doorstep_tests::pgbouncer::PgBouncer;
use sqlx::Connection as _;
use sqlx::PgConnection;

use super::{Shop, number, publish};
use crate::backends::{BARE, Door};

const POOLING: &str = "pool_mode = transaction\nignore_startup_parameters = extra_float_digits\n\
     max_client_conn = 100\ndefault_pool_size = 20";

#[tokio::test]
async fn behind_a_pooler_that_lends_connections_for_a_transaction_it_polls_and_says_so() {
    let shop = Shop::open().await;
    let before_node = PgBouncer::before(&shop.node_url, POOLING);
    let before_backend = PgBouncer::before(&shop.backend_url, POOLING);
    let file = format!("{BARE}\n[outbox]\nurl = {:?}\n", before_node.url());
    let mut door = Door::with(&file).await;
    door.server.logged("polling the outbox every 100 ms", 1).await;
    let mut socket = door.user("ada").connect("doorstep.v1").await;
    let mut backend = PgConnection::connect(before_backend.url()).await.unwrap();
    for expected in 0..5 {
        let mut transaction = backend.begin().await.unwrap();
        publish(&mut transaction, "ada", expected).await;
        transaction.commit().await.unwrap();
        let frame = socket.notification().await;
        assert_eq!(number(&frame), expected);
        socket.acknowledge(&frame).await;
    }
    shop.until_empty().await;
}

#[tokio::test]
async fn notify_is_proved_and_its_loss_noticed() {
    let shop = Shop::open().await;
    let mut door = shop.door().await;
    door.server.logged("the outbox wakes this node by NOTIFY", 1).await;
    // The server ends the session that listens; what is written while nobody listens is found anyway.
    shop.change(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND query LIKE 'LISTEN%'",
    )
    .await;
    let mut socket = door.user("ada").connect("doorstep.v1").await;
    let mut backend = shop.backend().await;
    for expected in 0..5 {
        publish(&mut backend, "ada", expected).await;
        assert_eq!(number(&socket.notification().await), expected);
    }
}

#[tokio::test]
async fn a_listening_connection_that_is_lost_without_a_word_is_noticed() {
    let shop = Shop::open().await;
    let proxy = FreezingProxy::before(&shop.node_url).await;
    let file = format!("{BARE}\n[outbox]\nurl = {:?}\n", proxy.url());
    let mut door = Door::with(&file).await;
    door.server.logged("the outbox wakes this node by NOTIFY", 1).await;
    let mut socket = door.user("ada").connect("doorstep.v1").await;
    let mut backend = shop.backend().await;
    let listening = "SELECT client_port::bigint FROM pg_stat_activity \
         WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    proxy.hang(shop.number(listening).await.try_into().unwrap());
    for expected in 0..5 {
        publish(&mut backend, "ada", expected).await;
        assert_eq!(number(&socket.notification().await), expected);
    }
    // It listens again, on a connection of its own.
    door.server.logged("the outbox wakes this node by NOTIFY", 2).await;
}

#[tokio::test]
async fn without_notify_it_polls() {
    let shop = Shop::with(&["--no-notify"]).await;
    let mut door = shop.door().await;
    door.server.logged("installed without NOTIFY", 1).await;
    let mut socket = door.user("ada").connect("doorstep.v1").await;
    let mut backend = shop.backend().await;
    // A transaction that has notified could not be prepared.
    publish(&mut backend, "ada", 1).await;
    assert_eq!(number(&socket.notification().await), 1);
    let source = "SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
         WHERE n.nspname = 'doorstep' AND p.prosrc LIKE '%notify%'";
    assert_eq!(shop.number(source).await, 0);
}

#[tokio::test]
async fn sessions_that_end_are_made_again() {
    let shop = Shop::open().await;
    let mut door = shop.door().await;
    door.server.logged("consumes the outbox", 1).await;
    let mut socket = door.user("ada").connect("doorstep.v1").await;
    let mut backend = shop.backend().await;
    for expected in 0..3 {
        shop.change(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND application_name = 'doorstep outbox'",
        )
        .await;
        publish(&mut backend, "ada", expected).await;
        let frame = socket.notification().await;
        assert_eq!(number(&frame), expected);
        socket.acknowledge(&frame).await;
    }
    shop.until_empty().await;
}
