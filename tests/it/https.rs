//! A node that speaks TLS itself: everything that works over HTTP, with the limits of every connection.

mod files;
mod limits;
mod reload;

use std::time::Duration;

use doorstep_tests::client::User;
use doorstep_tests::server::{Doorstep, SqliteFile};
use doorstep_tests::tls::{TlsClient, fixture, section};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::{ClientRequestBuilder, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::backends::{BARE, Door};

/// How long a test waits for anything.
const PATIENCE: Duration = Duration::from_mins(1);

/// The lines of a configuration with the usual certificate.
fn usual() -> String {
    section(fixture("server.pem").to_str().unwrap(), fixture("server.key").to_str().unwrap())
}

/// A node without simulation and database that speaks TLS.
async fn door() -> Door {
    Door::with(&format!("{BARE}{}", usual())).await
}

type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// Opens a WebSocket over TLS.
async fn connect(door: &Door, user: &User) -> Socket {
    let stream = TlsClient::new().connect(door.server.address()).await.unwrap();
    let url = format!("wss://localhost:{}/v1/ws", door.server.address().port());
    let request = ClientRequestBuilder::new(url.parse().unwrap())
        .with_header("authorization", format!("Bearer {}", user.token))
        .with_sub_protocol("doorstep.v1");
    client_async(request, stream).await.unwrap().0
}

/// The next frame that is not a heartbeat.
async fn next(socket: &mut Socket) -> Message {
    let next = async {
        loop {
            match socket.next().await.unwrap().unwrap() {
                Message::Ping(_) => {}
                Message::Text(text) if text.contains("\"heartbeat\"") => {}
                message => return message,
            }
        }
    };
    tokio::time::timeout(PATIENCE, next).await.expect("something comes")
}

/// Reads until this has come.
async fn read_until(stream: &mut TlsStream<TcpStream>, part: &str) -> String {
    let mut text = Vec::new();
    let read = async {
        while !String::from_utf8_lossy(&text).contains(part) {
            let read = stream.read_buf(&mut text).await.unwrap();
            assert!(read > 0, "no {part:?} in {:?}", String::from_utf8_lossy(&text));
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("it comes");
    String::from_utf8_lossy(&text).into_owned()
}

/// Sends one request, and reads the whole response.
async fn ask(door: &Door, head: &str) -> String {
    let mut stream = TlsClient::new().connect(door.server.address()).await.unwrap();
    let request = format!("{head}\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    // An end without `close_notify` would be an error here.
    stream.read_to_string(&mut response).await.unwrap();
    response
}

fn news(user: &str) -> Value {
    json!({"user_id": user, "kind": "news", "payload": {"over": "tls"}})
}

#[tokio::test]
async fn a_backend_publishes_over_https_to_a_websocket_and_to_a_stream() {
    let door = door().await;
    assert!(door.server.url().starts_with("https://127.0.0.1:"), "{}", door.server.url());
    let backend = door.backend.at(&TlsClient::new().plain_url(door.server.address()).await);
    let (ada, bob) = (door.user("ada"), door.user("bob"));
    let mut socket = connect(&door, &ada).await;
    let mut stream = TlsClient::new().connect(door.server.address()).await.unwrap();
    let request = format!(
        "GET /v1/notifications/stream HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\r\n",
        bob.token
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    read_until(&mut stream, "retry: 1000").await;

    backend.publish(&news("bob")).await;
    read_until(&mut stream, "\"over\":\"tls\"").await;
    let id = backend.publish(&news("ada")).await[0]["id"].as_str().unwrap().to_owned();
    let frame: Value = serde_json::from_str(next(&mut socket).await.to_text().unwrap()).unwrap();
    assert_eq!(frame["id"], id.as_str());
    let ack = json!({"type": "ack", "id": id}).to_string();
    socket.send(Message::text(ack)).await.unwrap();
    let ended = backend.get(&format!("/v1/notifications/{id}?wait=60")).await.1;
    assert_eq!(ended["state"], "delivered", "{ended}");

    // A stop tells everybody, over TLS to the end.
    door.server.terminate();
    match next(&mut socket).await {
        Message::Close(Some(frame)) => assert_eq!(u16::from(frame.code), 1012),
        other => panic!("expected a close frame, got {other:?}"),
    }
    read_until(&mut stream, "event: closing").await;
    drop((socket, stream));
    let finished = door.server.wait().await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
}

#[tokio::test]
async fn the_simulation_and_the_terminal_client_work_over_tls() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).file("doorstep.toml", &usual()).start().await;
    let user = User::register(&TlsClient::new().plain_url(server.address()).await, "ada").await;
    let url = format!("https://localhost:{}", server.address().port());
    let listen = Doorstep::new(&["listen", "--url", &url]).env("DOORSTEP_TOKEN", &user.token);
    let mut listener =
        listen.env("SSL_CERT_FILE", fixture("ca.pem").to_str().unwrap()).spawn().await;
    listener.printed("  welcome  {\"username\":\"ada\"}  ", 1).await;
}

#[tokio::test]
async fn the_lines_for_people_have_the_page_s_scheme() {
    let call = Doorstep::new(&["--listen", "127.0.0.1:0"]).file("doorstep.toml", &usual());
    let mut process = call.spawn().await;
    let url = process.announced().await;
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    process.logged(&format!("open {url} in a browser"), 1).await;
}

#[tokio::test]
async fn a_page_of_this_server_is_of_the_same_origin() {
    let door = door().await;
    let token = door.user("ada").token;
    let upgrade = async |host: &str, origin: &str| {
        let mut stream = TlsClient::new().connect(door.server.address()).await.unwrap();
        let request = format!(
            "GET /v1/ws HTTP/1.1\r\nhost: {host}\r\norigin: {origin}\r\nauthorization: Bearer {token}\r\n\
             connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        read_until(&mut stream, "\r\n").await[..12].to_owned()
    };
    for (host, origin, status) in [
        ("localhost:3443", "https://localhost:3443", "101"),
        ("push.example.com", "https://push.example.com", "101"),
        ("push.example.com:443", "https://push.example.com", "101"),
        ("push.example.com", "https://push.example.com:8443", "403"),
        ("push.example.com", "https://evil.example", "403"),
    ] {
        assert_eq!(upgrade(host, origin).await, format!("HTTP/1.1 {status}"), "{host} {origin}");
    }
}

#[tokio::test]
async fn http_1_1_is_the_only_protocol_that_is_negotiated() {
    let door = door().await;
    for (offered, selected) in [
        (&["h2", "http/1.1"][..], Some("http/1.1")),
        (&["http/1.1"], Some("http/1.1")),
        (&[], None),
    ] {
        let stream = TlsClient::offering(offered).connect(door.server.address()).await.unwrap();
        let alpn = stream.get_ref().1.alpn_protocol();
        assert_eq!(alpn, selected.map(str::as_bytes), "{offered:?}");
    }
    let refused = TlsClient::offering(&["h2"]).connect(door.server.address()).await.unwrap_err();
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
}

#[tokio::test]
async fn plain_http_gets_an_answer_and_a_line_for_who_looks_for_it() {
    let call = Doorstep::new(&["--listen", "127.0.0.1:0"])
        .file("doorstep.toml", &(BARE.to_owned() + &usual()));
    let mut server = call.env("DOORSTEP_LOG", "info,doorstep_adapters=debug").start().await;
    let url = format!("http://{}/health/live", server.address());
    let response = reqwest::get(&url).await.unwrap();
    assert_eq!(response.status(), 400);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["status"], 400);
    assert!(problem["detail"].as_str().unwrap().contains("https://"), "{problem}");
    // As large as a batch of notifications, sent before anything is read.
    let upload = reqwest::Client::new().post(&url).body(vec![b'x'; 48 * 1024]).send().await;
    assert_eq!(upload.unwrap().status(), 400);
    server.logged("plain HTTP on a port that speaks TLS", 2).await;
    server.terminate();
    let stderr = server.wait().await.stderr;
    let line = stderr.lines().find(|line| line.contains("plain HTTP")).unwrap();
    assert!(line.contains("DEBUG"), "{line}");
}
