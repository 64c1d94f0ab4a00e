//! The JavaScript client in Node, against the real server, and as a package.

use std::path::Path;

use doorstep_tests::server::{Doorstep, SqliteFile};
use tokio::process::Command;

fn web() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../app/web"))
}

#[tokio::test]
async fn its_own_tests_pass_against_the_real_server() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let output = Command::new("node")
        // Node 20 has a WebSocket behind this flag, later ones without it.
        .args(["--experimental-websocket", "--test", "--test-reporter=spec"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/js/doorstep.test.mjs"))
        .env("DOORSTEP_URL", server.url())
        .output()
        .await
        .expect("node starts; tests/run.sh installs it");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("tests 0\n"), "{said}");
}

#[tokio::test]
async fn it_packs_into_what_is_published_and_nothing_else() {
    let output = Command::new("npm")
        .args(["pack", "--dry-run", "--json"])
        .current_dir(web())
        .output()
        .await
        .expect("npm starts; tests/run.sh installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let packed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut files: Vec<_> = packed[0]["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["path"].as_str().unwrap())
        .collect();
    files.sort_unstable();
    assert_eq!(files, ["README.md", "doorstep.d.ts", "doorstep.js", "package.json"]);
}

#[tokio::test]
async fn the_binary_serves_it() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let answer = reqwest::get(format!("{}/doorstep.js", server.url())).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/javascript; charset=utf-8");
    let ours = std::fs::read_to_string(web().join("doorstep.js")).unwrap();
    assert_eq!(answer.text().await.unwrap(), ours);
}
