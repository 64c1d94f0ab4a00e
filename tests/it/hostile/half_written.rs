//! A stop that finds a client's socket in the middle of a frame.

use doorstep_tests::client::User;
use doorstep_tests::server::{Doorstep, SqliteFile};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::{ClientRequestBuilder, Message};

use super::{connect, many_files};
use crate::backends::{Door, token};

/// Of 16 KiB each: more than a socket takes, so that one of them is half-written.
const SENT: u64 = 40;

/// The number in a notification.
fn number(frame: &Value) -> u64 {
    frame["payload"]["number"].as_u64().unwrap()
}

/// A client that does not acknowledge has been shown the notification whose frame it has whole, and no other.
#[tokio::test]
async fn a_plain_client_that_reads_on_during_a_stop_gets_each_notification_once() {
    many_files();
    let database = SqliteFile::new();
    let call = Doorstep::new(&["--listen", "127.0.0.1:0"]).env("DATABASE_URL", &database.url());
    let door = Door::of(call, "[trading]\nenabled = false\n[delivery]\nttl = \"1h\"\n").await;
    let server = door.server.address();
    let request = ClientRequestBuilder::new(format!("ws://{server}/v1/ws").parse().unwrap())
        .with_header("authorization", format!("Bearer {}", token("hostile")))
        .with_sub_protocol("doorstep.plain.v1");
    let mut socket = client_async(request, connect(server, 0).await).await.unwrap().0;
    let text = "x".repeat(16 * 1024);
    for n in 0..SENT {
        let payload = json!({ "number": n, "text": text });
        let body = json!({"user_id": "hostile", "kind": "numbered", "payload": payload});
        door.backend.publish(&body).await;
    }
    let Door { call, server, backend } = door;
    server.terminate();
    // Before the socket takes another byte, the connection is asked to close.
    crate::node::eventually("the server is stopping", async || {
        let ready = reqwest::get(format!("{}/health/ready", server.url())).await;
        ready.map_or(true, |ready| ready.status() == 503)
    })
    .await;
    let mut got = Vec::new();
    while let Some(Ok(message)) = socket.next().await {
        if let Message::Text(text) = message {
            got.push(number(&serde_json::from_str(&text).unwrap()));
        }
    }
    assert_eq!(server.wait().await.code, Some(0));
    let before = got.len();
    println!("{before} of {SENT} before the stop");
    assert!(got.len() < SENT.try_into().unwrap(), "the socket was never full");

    let server = call.start().await;
    let door = Door { call, server, backend };
    let user = User::with_token(door.server.url(), "hostile", &token("hostile"));
    let mut socket = user.connect("doorstep.plain.v1").await;
    while got.last() != Some(&(SENT - 1)) {
        got.push(number(&socket.notification().await));
    }
    assert_eq!(socket.round_trip().await, Vec::<String>::new());
    assert_eq!(got, (0..SENT).collect::<Vec<_>>(), "each once, {before} before the stop");
}
