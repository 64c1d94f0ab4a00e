//! Backup and restore, with the commands of docs/operate.md as they stand there.

use std::path::Path;
use std::process::Stdio;

use doorstep_tests::client::User;
use doorstep_tests::postgres;
use doorstep_tests::server::{Doorstep, Server, binary};
use serde_json::json;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::Database;

/// The commands under this heading of the page: the blocks for a shell, in order.
fn commands(heading: &str) -> Vec<&'static str> {
    let page = include_str!("../../../docs/operate.md");
    let (_, section) = page.split_once(&format!("\n### {heading}\n")).unwrap();
    let section = section.split("\n### ").next().unwrap();
    section.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap()).collect()
}

/// Runs commands of the page in a folder.
async fn run(commands: &str, folder: &Path, environment: &[(&str, &str)]) {
    let doorstep = binary().await.parent().unwrap().to_owned();
    let clients = postgres::client("pg_dump").parent().unwrap().to_owned();
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{}:{path}", doorstep.display(), clients.display());
    let run = Command::new("bash")
        .args(["-euxc", commands])
        .current_dir(folder)
        .env("PATH", path)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{commands}\n{said}");
}

/// Keeps registering users, so that the backup is made of a database that changes. Returns how many there were.
async fn users_come(server: &Server, over: CancellationToken) -> usize {
    let mut count = 0;
    while !over.is_cancelled() {
        User::register(server.url(), &format!("user{count}")).await;
        count += 1;
    }
    count
}

const CONFIGURATION: &str = "[delivery.kinds.welcome]\npolicy = \"inbox\"\n";

/// Everything that the user owns, as the user sees it.
async fn belongings(user: &User) -> [serde_json::Value; 4] {
    let (mut all, paths) = (Vec::new(), ["/v1/me", "/v1/ledger", "/v1/positions", "/v1/inbox"]);
    for path in paths {
        let (status, answer) = user.get(path).await;
        assert_eq!(status, 200, "{path}: {answer}");
        all.push(answer);
    }
    all.try_into().unwrap()
}

/// Makes a backup while the server runs, loses the server, restores, and starts on what is restored.
async fn comes_back(
    folder: &Path,
    url: &str,
    commands: [&str; 2],
    environment: &[(&str, &str)],
    restored_url: &str,
) {
    let call = Doorstep::serve(url).file("doorstep.toml", CONFIGURATION);
    let server = call.start().await;
    let ada = User::register(server.url(), "ada").await;
    ada.has("1000.00").await;
    let order = json!({"symbol": "ACME", "side": "long", "quantity": "1"});
    for _ in 0..2 {
        assert_eq!(ada.post("/v1/positions", &order).await.0, 201);
    }
    let (_, open) = ada.get("/v1/positions").await;
    let id = open["positions"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(ada.post(&format!("/v1/positions/{id}/close"), &json!({})).await.0, 200);
    // The reward for the first close is in the ledger a moment later.
    crate::node::eventually("the reward is there", async || {
        let (_, ledger) = ada.get("/v1/ledger").await;
        ledger["entries"].as_array().unwrap().iter().any(|entry| entry["kind"] == "first_close")
    })
    .await;
    let before = belongings(&ada).await;

    let over = CancellationToken::new();
    let backup = async {
        run(commands[0], folder, environment).await;
        over.cancel();
    };
    let (users, ()) = tokio::join!(users_come(&server, over.clone()), backup);
    assert!(users > 0);
    let late = User::register(server.url(), "late").await;
    assert_eq!(ada.post("/v1/positions", &order).await.0, 201);
    server.kill().await;

    run(commands[1], folder, environment).await;
    let call = Doorstep::serve(restored_url).file("doorstep.toml", CONFIGURATION);
    let server = call.start().await;
    let ada = ada.at(server.url());
    assert_eq!(belongings(&ada).await, before, "the session is still good, and nothing is missing");
    assert_eq!(late.at(server.url()).get("/v1/me").await.0, 401);
    User::register(server.url(), "late").await.has("1000.00").await;
    server.terminate();
    assert_eq!(server.wait().await.code, Some(0));
    let audit = Doorstep::new(&["audit", "--database", restored_url]).run().await;
    assert_eq!(audit.code, Some(0), "{audit:?}");
}

#[tokio::test]
async fn a_sqlite_file_comes_back_from_its_backup() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("doorstep.db").display());
    let [backup, restore] = commands("SQLite")[..] else { panic!("two blocks") };
    comes_back(folder.path(), &url, [backup, restore], &[], &url).await;
}

#[tokio::test]
async fn a_postgresql_database_comes_back_from_its_backup() {
    let folder = tempfile::tempdir().unwrap();
    let (database, restored) = (Database::postgres().await, Database::postgres().await);
    let environment = [("DATABASE_URL", &*database.url), ("RESTORED_URL", &*restored.url)];
    let [backup, restore] = commands("PostgreSQL")[..] else { panic!("two blocks") };
    let commands = [backup, restore];
    comes_back(folder.path(), &database.url, commands, &environment, &restored.url).await;
}
