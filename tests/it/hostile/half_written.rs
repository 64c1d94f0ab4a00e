//! A stop that finds a client's socket in the middle of what is written to it. A client that does not acknowledge has
//! been shown the notifications that it has whole, and no others.

use doorstep_tests::client::User;
use doorstep_tests::server::{Doorstep, SqliteFile};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::{ClientRequestBuilder, Message};

use super::stop::open_stream;
use super::{Raw, connect, many_files};
use crate::backends::{Door, token};

const FILE: &str = "
    [server]\nstop_within = \"4s\"
    [trading]\nenabled = false
    [delivery]\nttl = \"1h\"
";

async fn door(database: &SqliteFile) -> Door {
    many_files();
    let call = Doorstep::new(&["--listen", "127.0.0.1:0"]).env("DATABASE_URL", &database.url());
    Door::of(call, FILE).await
}

async fn open(door: &Door) -> Raw {
    let server = door.server.address();
    let request = ClientRequestBuilder::new(format!("ws://{server}/v1/ws").parse().unwrap())
        .with_header("authorization", format!("Bearer {}", token("hostile")))
        .with_sub_protocol("doorstep.plain.v1");
    client_async(request, connect(server, 0).await).await.unwrap().0
}

/// Publishes so many with payloads of this many bytes: more than a socket takes.
async fn publish(door: &Door, count: u64, bytes: usize) {
    let text = "x".repeat(bytes);
    for n in 0..count {
        let payload = json!({ "number": n, "text": text });
        let body = json!({"user_id": "hostile", "kind": "numbered", "payload": payload});
        door.backend.publish(&body).await;
    }
}

fn number(frame: &Value) -> u64 {
    frame["payload"]["number"].as_u64().unwrap()
}

/// The numbers of the notifications that come until the connection ends. A cut one is none.
async fn read_to_the_end(mut socket: Raw) -> Vec<u64> {
    let mut got = Vec::new();
    while let Some(Ok(message)) = socket.next().await {
        if let Message::Text(text) = message {
            got.push(number(&serde_json::from_str(&text).unwrap()));
        }
    }
    got
}

/// Starts the server again, and reads the rest of them.
async fn all_come_once(call: Doorstep, mut got: Vec<u64>, count: u64) {
    let before = got.len();
    println!("{before} of {count} before the stop");
    assert!(got.last() != Some(&(count - 1)), "the socket was never full");
    let server = call.start().await;
    let user = User::with_token(server.url(), "hostile", &token("hostile"));
    let mut socket = user.connect("doorstep.plain.v1").await;
    while got.last() != Some(&(count - 1)) {
        got.push(number(&socket.notification().await));
    }
    assert_eq!(socket.round_trip().await, Vec::<String>::new());
    assert_eq!(got, (0..count).collect::<Vec<_>>(), "each once, {before} before the stop");
}

#[tokio::test]
async fn a_socket_that_reads_on_during_a_stop_gets_each_notification_once() {
    let database = SqliteFile::new();
    let door = door(&database).await;
    let socket = open(&door).await;
    publish(&door, 40, 16 * 1024).await;
    door.server.terminate();
    // Before the socket takes another byte, the connection is asked to close.
    crate::node::eventually("the server is stopping", async || {
        let ready = reqwest::get(format!("{}/health/ready", door.server.url())).await;
        ready.map_or(true, |ready| ready.status() == 503)
    })
    .await;
    let got = read_to_the_end(socket).await;
    assert_eq!(door.server.wait().await.code, Some(0));
    all_come_once(door.call, got, 40).await;
}

#[tokio::test]
async fn a_socket_that_is_read_after_a_stop_gets_each_notification_once() {
    let database = SqliteFile::new();
    let door = door(&database).await;
    let socket = open(&door).await;
    publish(&door, 200, 1024).await;
    door.server.terminate();
    assert_eq!(door.server.wait().await.code, Some(0));
    let got = read_to_the_end(socket).await;
    all_come_once(door.call, got, 200).await;
}

#[tokio::test]
async fn a_stream_that_is_read_after_a_stop_gets_each_notification_once() {
    let database = SqliteFile::new();
    let door = door(&database).await;
    let mut stream = open_stream(&door, 0).await;
    publish(&door, 200, 1024).await;
    door.server.terminate();
    assert_eq!(door.server.wait().await.code, Some(0));
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let whole = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let whole = whole.filter_map(|data| serde_json::from_str::<Value>(data).ok());
    let got = whole.filter(|data| data["payload"].is_object()).map(|data| number(&data)).collect();
    all_come_once(door.call, got, 200).await;
}
