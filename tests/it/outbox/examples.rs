//! The backends in `docs/` that publish through the outbox, run as they are: a user registers, the backend is killed
//! once the transaction is committed, and the popup comes.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use doorstep_tests::browser::target_dir;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use super::Shop;

/// An example is to be read in one go.
const MAX_LINES: usize = 60;

fn docs(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(file)
}

async fn play(program: &Path, file: &Path) {
    let lines = std::fs::read_to_string(file).unwrap().lines().count();
    assert!(lines < MAX_LINES, "{}: {lines} lines", file.display());
    let shop = Shop::open().await;
    let mut backend = Command::new(program)
        .arg(file)
        .env("SHOP_DATABASE", &shop.backend_url)
        .env("PORT", "0")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|e| panic!("{}, which ./tests/run.sh installs: {e}", program.display()));
    let mut lines = BufReader::new(backend.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().expect("the backend serves");
    let url = format!("{}/register", line.strip_prefix("listening on ").unwrap());

    // Nobody consumes yet: the backend is dead before the node hears of anything.
    let http = reqwest::Client::new();
    let register = http.post(&url).json(&json!({"name": "ada"})).send();
    let register = tokio::spawn(register);
    shop.until_none("SELECT 1 - count(*) FROM customers").await;
    backend.kill().await.unwrap();
    // It may have got as far as its answer, or not.
    drop(register.await.unwrap());

    let door = shop.door().await;
    let mut socket = door.user("customer/ada").connect("doorstep.v1").await;
    let frame = socket.notification().await;
    assert_eq!(
        (&frame["kind"], &frame["payload"]["text"]),
        (&"welcome".into(), &"Welcome, ada!".into())
    );
    socket.acknowledge(&frame).await;
    shop.until_empty().await;
}

#[tokio::test]
async fn the_python_backend_dies_after_its_commit_and_the_popup_comes() {
    play(&target_dir().join("python/bin/python3"), &docs("outbox.py")).await;
}

#[tokio::test]
async fn the_node_backend_dies_after_its_commit_and_the_popup_comes() {
    // A module finds its packages beside itself.
    let folder = tempfile::tempdir_in(target_dir().join("npm")).unwrap();
    let file = folder.path().join("outbox.mjs");
    std::fs::copy(docs("outbox.mjs"), &file).unwrap();
    play(Path::new("node"), &file).await;
}
