//! Doorstep's own database is killed, or cannot be written to.

use doorstep_tests::client::User;
use doorstep_tests::postgres::{Durability, Postgres};
use doorstep_tests::scrape::Scrape;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};

use super::{ACKS, door, kinds, news, registered};
use crate::node::eventually;

/// All of these wait, one from each way.
const ALL: [&str; 4] = ["news.deferred", "news.kept", "reward.granted", "welcome"];

#[tokio::test]
async fn kill_9_of_the_database_loses_nothing_that_was_accepted() {
    if std::env::var_os("TEST_DATABASE_URL").is_some() {
        return;
    }
    // Its own server, so that other tests are not affected. What was accepted must be on the disk.
    let postgres = Postgres::start(Durability::Durable).await;
    let url = postgres.database().await;
    let door = door(&url).await;
    let ada = registered(&door).await;
    for kind in ["news.deferred", "news.kept"] {
        assert_eq!(door.backend.publish(&news(&ada.id, kind)).await[0]["state"], "waiting");
    }
    // One server process that is killed takes all others and the shared memory with it.
    let mut victim = PgConnection::connect(&url).await.unwrap();
    let pid: i32 = victim.fetch_one("SELECT pg_backend_pid()").await.unwrap().get(0);
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    eventually("the database answers", async || {
        ada.try_get("/v1/me").await.is_ok_and(|(status, _)| status == 200)
    })
    .await;
    let mut socket = ada.connect(ACKS).await;
    assert_eq!(kinds(&mut socket, 4).await, ALL);
}

/// What is sent while the inbox cannot be written to: what is deferred needs no database. A backend is told, and sends
/// again; an event has nobody who could.
#[tokio::test]
async fn what_is_sent_while_the_inbox_hangs_is_kept_or_told_or_lost() {
    let url = Postgres::shared().await.database().await;
    let door = door(&url).await;
    let mut owner = PgConnection::connect(&url).await.unwrap();
    let mut hangs = owner.begin().await.unwrap();
    hangs.execute("LOCK TABLE inbox IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let ada = User::register(door.server.url(), "ada").await;
    // The events come in order, so the welcome has been tried.
    eventually("the reward is accepted", async || {
        Scrape::of(door.server.url()).await.sum("doorstep_notifications_waiting", &[]) > 0.5
    })
    .await;
    let kept: Value = {
        let mut news = news(&ada.id, "news.kept");
        news["id"] = json!("01a209eb-cf1f-77b0-85a2-bbc9716a2644");
        news
    };
    assert_eq!(door.backend.publish(&news(&ada.id, "news.deferred")).await[0]["state"], "waiting");
    let told = door.backend.publish(&kept).await.remove(0);
    assert_eq!((&told["state"], &told["reason"]), (&json!("rejected"), &json!("inbox_away")));

    hangs.rollback().await.unwrap();
    eventually("it is accepted", async || {
        door.backend.publish(&kept).await[0]["state"] == "waiting"
    })
    .await;
    let mut socket = ada.connect(ACKS).await;
    let all_but_the_welcome = &ALL[..3];
    assert_eq!(kinds(&mut socket, 3).await, all_but_the_welcome);
}
