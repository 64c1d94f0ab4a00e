//! The example backends in `docs/`, unchanged: a user logs in there, is sent a notification before their socket
//! is open, and receives it.

use std::path::Path;
use std::process::Stdio;

use doorstep_tests::client::User;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use super::{Door, SECRET};

/// An example should be short enough to read at once.
const MAX_LINES: usize = 60;

async fn play(program: &str, file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(file);
    assert!(std::fs::read_to_string(&path).unwrap().lines().count() <= MAX_LINES, "{file}");
    let door = Door::open().await;
    let mut backend = Command::new(program)
        .arg(path)
        .env("DOORSTEP_URL", door.server.url())
        .env("DOORSTEP_KEY", &door.backend.key)
        .env("TOKEN_SECRET", SECRET)
        .env("PORT", "0")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|e| panic!("{program}, which ./tests/run.sh installs: {e}"));
    let mut lines = BufReader::new(backend.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().expect("the backend serves");
    let url = line.strip_prefix("listening on ").unwrap();

    let login = reqwest::Client::new()
        .post(format!("{url}/login"))
        .json(&json!({"name": "ada"}))
        .send()
        .await
        .unwrap();
    assert_eq!(login.status(), 200);
    let login: Value = login.json().await.unwrap();
    assert_eq!(login["notification"], "waiting");
    let token = login["token"].as_str().unwrap();
    let user = User::with_token(door.server.url(), "customer/ada", token);
    let mut socket = user.connect("doorstep.v1").await;
    let frame = socket.notification().await;
    assert_eq!(frame["kind"], "welcome.back");
    socket.acknowledge(&frame).await;
    let path = format!("/v1/notifications/{}?wait=60", frame["id"].as_str().unwrap());
    assert_eq!(door.backend.get(&path).await.1["state"], "delivered");
}

#[tokio::test]
async fn the_python_backend_does_what_it_says() {
    play("python3", "backend.py").await;
}

#[tokio::test]
async fn the_node_backend_does_what_it_says() {
    play("node", "backend.mjs").await;
}
