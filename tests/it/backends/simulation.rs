//! Without the simulation there are neither its routes nor its tables, and with nothing to store no database.

use std::collections::BTreeSet;

use doorstep_tests::client::User;
use doorstep_tests::server::{Doorstep, SqliteFile};
use serde_json::{Value, json};
use sqlx::Connection as _;

use super::{Backend, Door, Key};

/// Paths of the simulation. At `/` a page says that it is disabled.
const GONE: [&str; 6] =
    ["/v1/users", "/v1/sessions", "/v1/me", "/v1/ledger", "/v1/instruments", "/v1/positions"];

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
    // The URL is not used, so it may be wrong.
    let call = Doorstep::new(&["--listen", "127.0.0.1:0"])
        .file("doorstep.toml", super::BARE)
        .env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/nothing");
    call.start().await;
}

#[tokio::test]
async fn no_route_and_no_handler_of_the_simulation_is_left() {
    let (one, other) = (SqliteFile::new(), SqliteFile::new());
    let full = Door::of(Doorstep::serve(&one.url()), "").await;
    let bare = Door::of(Doorstep::serve(&other.url()), "[trading]\nenabled = false\n").await;
    let routes = async |door: &Door| -> BTreeSet<(String, String)> {
        let document = door.backend.get("/openapi.json").await.1;
        let methods = |(path, methods): (&String, &Value)| {
            let names: Vec<_> = methods.as_object().unwrap().keys().cloned().collect();
            names.into_iter().map(|name| (path.clone(), name)).collect::<Vec<_>>()
        };
        document["paths"].as_object().unwrap().iter().flat_map(methods).collect()
    };
    let gone: Vec<_> = routes(&full).await.difference(&routes(&bare).await).cloned().collect();
    let paths: BTreeSet<_> = gone.iter().map(|(path, _)| path.as_str()).collect();
    let expected = [
        "/v1/demo/notifications",
        "/v1/demo/record",
        "/v1/instruments",
        "/v1/ledger",
        "/v1/me",
        "/v1/positions",
        "/v1/positions/{id}/close",
        "/v1/sessions",
        "/v1/sessions/current",
        "/v1/users",
    ];
    assert_eq!(paths, expected.into());
    for (path, method) in gone {
        let method = reqwest::Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let url = format!("{}{}", bare.server.url(), path.replace("{id}", "7"));
        let answer = bare.backend.http.request(method.clone(), url).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{method} {path}");
    }
    let figures = async |door: &Door| {
        let url = format!("{}/metrics", door.server.url());
        reqwest::get(url).await.unwrap().text().await.unwrap()
    };
    assert!(figures(&full).await.contains("handler=\""));
    assert!(!figures(&bare).await.contains("handler=\""), "there is no event handler");
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
    assert_eq!(tables(&database).await, ["handover", "inbox", "readiness"]);
    let ready = reqwest::get(format!("{}/health/ready", server.url())).await.unwrap();
    assert_eq!(ready.status(), 200);
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

    // The simulation can be enabled later and disabled again; waiting notifications are still there.
    let server = call("true").start().await;
    User::register(server.url(), "ada").await;
    assert!(tables(&database).await.contains(&"users".to_owned()));
    server.terminate();
    server.wait().await;
    let mut server = call("false").start().await;
    server.logged("took up what was left", 1).await;
}
