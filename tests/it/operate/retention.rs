//! `inbox.keep_read`: read items end, in a table of a million, while users read and write.

use std::time::SystemTime;

use doorstep_tests::client::User;
use doorstep_tests::server::{Doorstep, Server};

use super::Database;
use crate::node::eventually;

/// The items of the table.
const ITEMS: i64 = 1_000_000;
/// A day, in the microseconds of the table.
const DAY: i64 = 24 * 60 * 60 * 1_000_000;
/// How many MiB the node may grow, far less than what it removes.
const GROWTH: u64 = 48;

/// Adds the items, of a thousand users. Of each ten, one was read 31 days ago, seven 29 days ago, one is delivered and
/// one is new.
async fn fill(database: &Database, store: &str) {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros();
    let numbers = match store {
        "sqlite" => format!(
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {ITEMS} - 1)"
        ),
        _ => format!("WITH n(i) AS (SELECT generate_series(0, {ITEMS} - 1))"),
    };
    let id = match store {
        "sqlite" => "printf('%08x-0000-7000-8000-000000000000', i)",
        _ => "lpad(to_hex(i), 8, '0') || '-0000-7000-8000-000000000000'",
    };
    database
        .run(&format!(
            "{numbers} INSERT INTO inbox \
             (id, user_id, kind, payload, created_at, entered_by, delivered_at, read_at) \
             SELECT {id}, 'user-' || (i / 10 % 1000), 'news', '{{}}', {now} - 40 * {DAY}, 'policy', \
             CASE WHEN i % 10 < 9 THEN {now} - 31 * {DAY} END, \
             CASE WHEN i % 10 = 0 THEN {now} - 31 * {DAY} WHEN i % 10 < 8 THEN {now} - 29 * {DAY} END \
             FROM n"
        ))
        .await;
}

/// A user registers, receives, and reads: everything that needs the table.
async fn lives(server: &Server, name: &str) {
    let ada = User::register(server.url(), name).await;
    ada.has("1000.00").await;
    // The popups are written a moment later.
    eventually("both are in the inbox", async || {
        let (status, inbox) = ada.get("/v1/inbox?unread=true").await;
        assert_eq!(status, 200, "{inbox}");
        inbox["notifications"].as_array().map(Vec::len) == Some(2)
    })
    .await;
    let (status, _) = ada.post("/v1/inbox/read", &serde_json::json!({})).await;
    assert_eq!(status, 204);
    let (_, inbox) = ada.get("/v1/inbox?unread=true").await;
    assert_eq!(inbox["notifications"].as_array().map(Vec::len), Some(0));
}

async fn forgets(store: &str, database: Database) {
    let migrated = Doorstep::new(&["migrate", "--database", &database.url]).run().await;
    assert_eq!(migrated.code, Some(0), "{migrated:?}");
    fill(&database, store).await;
    let file = "[inbox]\nkeep_read = \"30days\"\n[delivery]\npolicy = \"inbox\"\n";
    let mut server = Doorstep::serve(&database.url).file("doorstep.toml", file).start().await;
    let before = server.resident();
    let left = "SELECT COUNT(*) FROM inbox WHERE user_id LIKE 'user-%'";
    // Whoever had to wait for long would get a 503.
    let mut user = 0;
    while database.count(left).await > ITEMS * 9 / 10 {
        lives(&server, &format!("ada{user}")).await;
        user += 1;
    }
    let removed = ITEMS / 10;
    server.logged(&format!("removed read items from the inbox removed={removed}"), 1).await;
    let grown = server.peak().saturating_sub(before);
    assert!(grown < GROWTH, "{store}: {grown} MiB more");

    for (kept, such) in [
        (ITEMS * 7 / 10, "read_at IS NOT NULL"),
        (ITEMS / 10, "read_at IS NULL AND delivered_at IS NOT NULL"),
        (ITEMS / 10, "delivered_at IS NULL"),
    ] {
        assert_eq!(database.count(&format!("{left} AND {such}")).await, kept, "{store}: {such}");
    }
    let metrics = reqwest::get(format!("{}/metrics", server.url())).await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains(&format!("doorstep_inbox_removed_total {removed}\n")), "{metrics}");
    server.terminate();
    assert_eq!(server.wait().await.code, Some(0));
}

#[tokio::test]
async fn read_items_of_a_sqlite_file_end_while_users_go_on() {
    forgets("sqlite", Database::sqlite()).await;
}

#[tokio::test]
async fn read_items_of_a_postgresql_database_end_while_users_go_on() {
    forgets("postgres", Database::postgres().await).await;
}

#[tokio::test]
async fn without_the_setting_everything_is_kept() {
    let database = Database::sqlite();
    let migrated = Doorstep::new(&["migrate", "--database", &database.url]).run().await;
    assert_eq!(migrated.code, Some(0), "{migrated:?}");
    database
        .run(
            "INSERT INTO inbox (id, user_id, kind, payload, created_at, entered_by, delivered_at, read_at) \
             VALUES ('00000000-0000-7000-8000-000000000000', 'user-1', 'news', '{}', 1, 'policy', 1, 1)",
        )
        .await;
    let policy = "[delivery]\npolicy = \"inbox\"\n";
    let call = Doorstep::serve(&database.url).file("doorstep.toml", policy);
    let server = call.start().await;
    lives(&server, "ada").await;
    server.terminate();
    let stderr = server.wait().await.stderr;
    assert!(!stderr.contains("removed read items"), "{stderr}");
    assert_eq!(database.count("SELECT COUNT(*) FROM inbox WHERE user_id = 'user-1'").await, 1);
}
