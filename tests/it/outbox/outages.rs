//! The database's outages: a network that hangs, and `kill -9` of PostgreSQL.

use std::collections::BTreeSet;

use doorstep_tests::freezing_proxy::FreezingProxy;
use doorstep_tests::postgres::{Durability, Postgres};
use doorstep_tests::server::Doorstep;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use super::{Shop, number, publish};
use crate::backends::{BARE, Door};

#[tokio::test]
async fn a_node_whose_network_hangs_is_replaced_and_comes_back() {
    let shop = Shop::open().await;
    let proxy = FreezingProxy::before(&shop.node_url).await;
    let file = format!("{BARE}\n[outbox]\nurl = {:?}\n", proxy.url());
    let mut first = Door::with(&file).await;
    first.server.logged("consumes the outbox", 1).await;
    let mut second = shop.door().await;
    let mut backend = shop.backend().await;

    proxy.freeze(true);
    let mut at_second = second.user("ada").connect("doorstep.v1").await;
    publish(&mut backend, "ada", 1).await;
    second.server.logged("consumes the outbox", 1).await;
    assert_eq!(number(&at_second.notification().await), 1);
    first.server.logged("stopped consuming the outbox", 1).await;
    // What lay in the network arrives now, late.
    proxy.freeze(false);
    publish(&mut backend, "ada", 2).await;
    assert_eq!(number(&at_second.notification().await), 2);

    second.server.terminate();
    second.server.wait().await;
    first.server.logged("consumes the outbox", 2).await;
    let mut at_first = first.user("ada").connect("doorstep.v1").await;
    publish(&mut backend, "ada", 3).await;
    let mut seen = BTreeSet::new();
    while !seen.contains(&3) {
        let frame = at_first.notification().await;
        seen.insert(number(&frame));
        at_first.acknowledge(&frame).await;
    }
    shop.until_empty().await;
}

/// Publishes until it is known to be committed, under ids of its own. Returns what was.
async fn insist(url: &str, from: i64) -> BTreeSet<i64> {
    let mut committed = BTreeSet::new();
    for n in from..from + 20 {
        loop {
            let Ok(mut backend) = PgConnection::connect(url).await else { continue };
            let sql =
                format!("SELECT doorstep.publish('ada', 'order.shipped', to_jsonb({n}))::text");
            if sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut backend).await.is_ok() {
                committed.insert(n);
                break;
            }
        }
    }
    committed
}

#[tokio::test]
async fn kill_9_of_postgresql_loses_nothing() {
    if std::env::var_os("TEST_DATABASE_URL").is_some() {
        return;
    }
    // Its own server, so that other tests are not affected. What a call has committed must be on the disk.
    let postgres = Postgres::start(Durability::Durable).await;
    let url = postgres.database().await;
    let installed = Doorstep::new(&["outbox", "install", "--url", &url]).run().await;
    assert_eq!(installed.code, Some(0), "{}", installed.stderr);
    let file = format!("{BARE}\n[outbox]\nurl = {url:?}\n[delivery]\nmax_per_user = 1000\n");
    let mut door = Door::with(&file).await;
    let mut socket = door.user("ada").connect("doorstep.v1").await;
    let (mut expected, mut shown) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..3 {
        door.server.logged("consumes the outbox", 1).await;
        let writing = tokio::spawn({
            let url = url.clone();
            async move { insist(&url, 100 * round).await }
        });
        // One server process that is killed takes all others and the shared memory with it.
        let mut victim = PgConnection::connect(&url).await.unwrap();
        let row = sqlx::raw_sql("SELECT pg_backend_pid()").fetch_one(&mut victim).await.unwrap();
        kill(Pid::from_raw(row.get(0)), Signal::SIGKILL).unwrap();
        expected.extend(writing.await.unwrap());
        while !expected.is_subset(&shown) {
            let frame = socket.notification().await;
            shown.insert(number(&frame));
            socket.acknowledge(&frame).await;
        }
    }
    assert_eq!(shown, expected);
}
