//! The addresses a process listens on, and the limit on connections per address.

use std::time::Duration;

use doorstep_adapters::http::ServerSettings;
use doorstep_tests::server::{Doorstep, SqliteFile};
use reqwest::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::node::{Node, Options};

#[tokio::test]
async fn a_port_alone_means_every_address() {
    let database = SqliteFile::new();
    let call = Doorstep::new(&["serve"]).env("DATABASE_URL", &database.url()).env("PORT", "0");
    let server = call.start().await;
    assert!(server.url().starts_with("http://0.0.0.0:"), "{}", server.url());
}

#[tokio::test]
async fn metrics_can_have_an_address_of_their_own() {
    let database = SqliteFile::new();
    let call = Doorstep::serve(&database.url()).env("DOORSTEP_METRICS__LISTEN", "127.0.0.1:0");
    let mut process = call.spawn().await;
    process.printed("listening on ", 1).await;
    let line = process.line("/metrics").await;
    let url = line.split(['"', ' ', '=']).find(|word| word.starts_with("http://")).unwrap();
    let text = reqwest::get(url).await.unwrap().text().await.unwrap();
    assert!(text.contains("doorstep_"), "{text}");
    // That address serves nothing else.
    let elsewhere = url.replace("/metrics", "/v1/me");
    assert_eq!(reqwest::get(elsewhere).await.unwrap().status(), StatusCode::NOT_FOUND);
    let main = process.announced().await;
    let public = reqwest::get(format!("{main}/metrics")).await.unwrap();
    assert_eq!(public.status(), StatusCode::NOT_FOUND);
    let described =
        reqwest::get(format!("{main}/openapi.json")).await.unwrap().text().await.unwrap();
    assert!(!described.contains("\"/metrics\""), "the public description leaves it out");
}

async fn connect(node: &Node) -> TcpStream {
    TcpStream::connect(node.address).await.unwrap()
}

/// Sends a request over a connection. Returns everything up to the complete response or the end.
async fn ask(client: &mut TcpStream, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: door\r\nConnection: close\r\n\r\n");
    client.write_all(request.as_bytes()).await.ok();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.ok();
    answer
}

#[tokio::test]
async fn an_address_has_its_share_of_connections_and_no_more() {
    let server = ServerSettings { max_per_address: 3, ..Default::default() };
    let node = Node::with(Options { server, ..Options::default() }).await;
    let mut three = [connect(&node).await, connect(&node).await, connect(&node).await];
    let mut fourth = connect(&node).await;
    let mut refusal = String::new();
    fourth.read_to_string(&mut refusal).await.unwrap();
    assert!(refusal.starts_with("HTTP/1.1 429"), "{refusal}");
    assert!(refusal.contains("retry-after: "), "{refusal}");
    assert!(ask(&mut three[0], "/health/live").await.starts_with("HTTP/1.1 200"));
    // Its place is free again.
    crate::node::eventually("a place is free", async || {
        ask(&mut connect(&node).await, "/health/live").await.starts_with("HTTP/1.1 200")
    })
    .await;
}

#[tokio::test]
async fn connections_that_read_nothing_keep_nobody_out() {
    let server = ServerSettings { max_connections: 8, reserved: 2, ..Default::default() };
    let node = Node::with(Options { server, ..Options::default() }).await;
    let mut clients = Vec::new();
    for _ in 0..16 {
        let mut client = connect(&node).await;
        // Sends as many requests as the socket takes, and reads no response.
        let requests = "GET /openapi.json HTTP/1.1\r\nHost: door\r\n\r\n".repeat(1000);
        let writing = client.write_all(requests.as_bytes());
        tokio::time::timeout(Duration::from_millis(50), writing).await.ok();
        clients.push(client);
    }
    assert!(ask(&mut connect(&node).await, "/health/ready").await.starts_with("HTTP/1.1 200"));
    assert!(ask(&mut connect(&node).await, "/v1/me").await.starts_with("HTTP/1.1 401"));
}

/// Like many clients, it sends its whole body before it reads anything.
const UPLOAD: &str = r#"
import http.client, sys
for path, status in [("/v1/users", 413), ("/v1/me", 405), ("/nothing", 404)]:
    door = http.client.HTTPConnection(sys.argv[1])
    headers = {"content-type": "application/json", "authorization": "Bearer dsk_revoked"}
    door.request("POST", path, b" " * 5_000_000, headers)
    assert door.getresponse().status == status, path
"#;

#[tokio::test]
async fn a_common_client_sees_why_its_large_upload_is_refused() {
    let node = Node::start().await;
    let address = node.address.to_string();
    let python = tokio::process::Command::new("python3").args(["-c", UPLOAD, &address]).output();
    let python = python.await.expect("python3 is there: tests/run.sh installs it");
    assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
}
