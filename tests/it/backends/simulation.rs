//! Without the simulation: neither its routes nor its tables, and without anything to keep, no database.

use doorstep_tests::client::User;
use doorstep_tests::server::{Doorstep, SqliteFile};
use serde_json::json;
use sqlx::Connection as _;

use super::{Backend, Door, Key};

const GONE: [&str; 7] =
    ["/", "/v1/users", "/v1/sessions", "/v1/me", "/v1/ledger", "/v1/instruments", "/v1/positions"];

#[tokio::test]
async fn with_nothing_to_keep_no_database_is_opened() {
    let door = Door::open().await;
    for path in GONE {
        assert_eq!(door.backend.get(path).await.0, 404, "{path}");
    }
    let ready = reqwest::get(format!("{}/health/ready", door.server.url())).await.unwrap();
    assert_eq!(ready.status(), 200);
    let files: Vec<_> = std::fs::read_dir(door.call.dir()).unwrap().flatten().collect();
    assert_eq!(files.len(), 1, "{files:?}");
    // Not even one that could not be opened.
    let call = Doorstep::new(&["--listen", "127.0.0.1:0"])
        .file("doorstep.toml", super::BARE)
        .env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/nothing");
    call.start().await;
}

async fn tables(database: &SqliteFile) -> Vec<String> {
    let mut connection = sqlx::SqliteConnection::connect(&database.url()).await.unwrap();
    sqlx::query_scalar(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\' \
         AND name NOT LIKE 'sqlite%' ORDER BY name",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap()
}

#[tokio::test]
async fn the_store_has_the_tables_of_inbox_and_handover_and_no_others() {
    let database = SqliteFile::new();
    let key = Key::new("shop").await;
    let call = |trading: &str| {
        Doorstep::serve(&database.url())
            .file("doorstep.toml", &format!("[keys]\n{}\n[trading]\nenabled = {trading}", key.line))
    };
    let server = call("false").start().await;
    assert_eq!(tables(&database).await, ["handover", "inbox"]);
    let backend = Backend::new(server.url(), &key.key);
    for path in GONE {
        assert_eq!(backend.get(path).await.0, 404, "{path}");
    }
    let body = json!([
        {"user_id": "ada", "kind": "news", "payload": 1, "policy": "inbox"},
        {"user_id": "ada", "kind": "news", "payload": 2, "ttl": 3600},
    ]);
    backend.publish(&body).await;
    server.terminate();
    assert_eq!(server.wait().await.code, Some(0));

    // The simulation can be added later, and taken away again; what waited is still there.
    let server = call("true").start().await;
    User::register(server.url(), "ada").await;
    assert!(tables(&database).await.contains(&"users".to_owned()));
    server.terminate();
    server.wait().await;
    let mut server = call("false").start().await;
    server.logged("took up what was left", 1).await;
}
