//! Server-Sent Events over the real wire, alone and together with a WebSocket of the same user.

use std::time::Duration;

use doorstep_tests::client::User;
use doorstep_tests::server::{Doorstep, Server, SqliteFile};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

use crate::node::eventually;

const PATIENCE: Duration = Duration::from_secs(30);

/// An open stream.
pub(crate) struct Stream {
    response: Response,
    text: String,
}

/// One event of a stream.
#[derive(Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: String,
    name: String,
    data: Value,
}

impl Stream {
    async fn open(server: &Server, user: &User, last_event_id: Option<&str>) -> Self {
        Self::at(server.url(), user, last_event_id).await
    }

    /// At the server with this URL.
    pub(crate) async fn at(url: &str, user: &User, last_event_id: Option<&str>) -> Self {
        let url = format!("{url}/v1/notifications/stream");
        let mut request = Client::new().get(url).bearer_auth(&user.token);
        if let Some(last) = last_event_id {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store, no-transform");
        Self { response, text: String::new() }
    }

    /// The next event; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| {
                    block.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default()
                };
                if !field("data: ").is_empty() {
                    let data = serde_json::from_str(field("data: ")).unwrap();
                    let (id, name) = (field("id: ").to_owned(), field("event: ").to_owned());
                    return Some(Event { id, name, data });
                }
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await;
            let chunk = chunk.expect("something comes").unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn kinds(&mut self, count: usize) -> Vec<(String, String)> {
        let mut kinds = Vec::new();
        for _ in 0..count {
            let event = self.next().await.expect("an event");
            assert_eq!(event.data["type"], "notification");
            assert_eq!(event.data["id"], event.id.as_str());
            kinds.push((event.data["kind"].as_str().unwrap().to_owned(), event.id));
        }
        kinds
    }
}

async fn send(server: &Server, user: &User, policy: &str) {
    let request = Client::new()
        .post(format!("{}/v1/demo/notifications", server.url()))
        .bearer_auth(&user.token)
        .json(&json!({ "policy": policy }));
    assert_eq!(request.send().await.unwrap().status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_stream_has_what_waited_and_what_comes() {
    let database = SqliteFile::new();
    let mut server = Doorstep::serve(&database.url()).start().await;
    let user = User::register(server.url(), "ada").await;
    let mut stream = Stream::open(&server, &user, None).await;
    let kinds: Vec<_> = stream.kinds(2).await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["welcome", "reward.granted"]);
    server.logged("outcome=\"delivered\"", 2).await;
    send(&server, &user, "immediate").await;
    assert_eq!(stream.kinds(1).await[0].0, "demo.immediate", "a connected user gets it at once");
}

#[tokio::test]
async fn notifications_up_to_the_last_event_id_are_not_repeated() {
    let database = SqliteFile::new();
    let mut server = Doorstep::serve(&database.url()).start().await;
    let user = User::register(server.url(), "ada").await;
    // A WebSocket that received both, acknowledged neither, and was then dropped.
    let mut socket = user.connect("doorstep.v1").await;
    let welcome = socket.notification().await;
    let reward = socket.notification().await;
    drop(socket);
    let mut stream = Stream::open(&server, &user, welcome["id"].as_str()).await;
    let (kind, id) = stream.kinds(1).await.remove(0);
    assert_eq!((kind.as_str(), Some(id.as_str())), ("reward.granted", reward["id"].as_str()));
    server.logged("outcome=\"delivered\"", 2).await;
}

#[tokio::test]
async fn both_transports_of_one_user_are_pushed_to() {
    let database = SqliteFile::new();
    let mut server = Doorstep::serve(&database.url()).start().await;
    let user = User::register(server.url(), "ada").await;
    let mut stream = Stream::open(&server, &user, None).await;
    stream.kinds(2).await;
    // Until then they would be pushed to the socket too.
    server.logged("outcome=\"delivered\"", 2).await;
    let mut socket = user.connect("doorstep.v1").await;
    send(&server, &user, "wake").await;
    assert_eq!(stream.kinds(1).await[0].0, "demo.wake");
    assert_eq!(socket.notification().await["kind"], "demo.wake");
}

/// Waits until the server's metrics contain all of these lines.
async fn until_measured(server: &Server, lines: &[&str]) {
    let url = format!("{}/metrics", server.url());
    eventually(&lines.join(", "), async || {
        let figures = reqwest::get(&url).await.unwrap().text().await.unwrap();
        lines.iter().all(|line| figures.lines().any(|said| said == *line))
    })
    .await;
}

#[tokio::test]
async fn streams_and_sockets_are_both_in_the_figures() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let user = User::register(server.url(), "ada").await;
    let mut stream = Stream::open(&server, &user, None).await;
    stream.kinds(2).await;
    let _socket = user.connect("doorstep.v1").await;
    let (one_socket, no_stream) = (
        r#"doorstep_connections{transport="websocket"} 1"#,
        r#"doorstep_connections{transport="sse"} 0"#,
    );
    let one_stream = r#"doorstep_connections{transport="sse"} 1"#;
    let sent = r#"doorstep_frames_queued_total{transport="sse"} 2"#;
    until_measured(&server, &[one_socket, one_stream, sent]).await;
    drop(stream);
    // The server notices that a stream is gone when it writes to it.
    send(&server, &user, "immediate").await;
    send(&server, &user, "immediate").await;
    until_measured(&server, &[one_socket, no_stream]).await;
}

#[tokio::test]
async fn a_stop_and_a_sign_out_end_it_with_their_codes() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let user = User::register(server.url(), "ada").await;
    let mut stream = Stream::open(&server, &user, None).await;
    stream.kinds(2).await;
    let url = format!("{}/v1/sessions/current", server.url());
    let answer = Client::new().delete(url).bearer_auth(&user.token).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    let goodbye =
        |code| Event { id: String::new(), name: "closing".into(), data: json!({ "code": code }) };
    assert_eq!(stream.next().await, Some(goodbye(4401)));
    assert_eq!(stream.next().await, None);

    let user = User::register(server.url(), "bob").await;
    let mut stream = Stream::open(&server, &user, None).await;
    stream.kinds(2).await;
    server.terminate();
    assert_eq!(stream.next().await, Some(goodbye(1012)));
    assert_eq!(stream.next().await, None);
    assert_eq!(server.wait().await.code, Some(0));
}

#[tokio::test]
async fn without_a_good_token_in_the_header_there_is_no_stream() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let user = User::register(server.url(), "ada").await;
    let url = format!("{}/v1/notifications/stream", server.url());
    for request in [
        Client::new().get(&url),
        Client::new().get(&url).bearer_auth("nobody"),
        Client::new().get(format!("{url}?token={}", user.token)),
    ] {
        assert_eq!(request.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    }
    let head = Client::new().head(&url).bearer_auth(&user.token).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn the_demonstration_is_only_there_where_it_is_wanted() {
    let database = SqliteFile::new();
    let cases = [("auto", true), ("true", true), ("false", false)];
    for (enabled, there) in cases {
        let call = Doorstep::serve(&database.url()).env("DOORSTEP_DEMO__ENABLED", enabled);
        let server = call.start().await;
        let user = User::register(server.url(), &format!("ada-{enabled}")).await;
        let (status, _) = user.get("/v1/demo/record").await;
        assert_eq!(status, if there { 200 } else { 404 }, "{enabled}");
        // Gone before the next one opens the same file.
        server.kill().await;
    }
    // Where other machines can connect, it is off by default.
    let call =
        Doorstep::new(&["serve", "--listen", "0.0.0.0:0"]).env("DATABASE_URL", &database.url());
    let server = call.start().await;
    let url = server.url().replace("0.0.0.0", "127.0.0.1");
    let user = User::register(&url, "bob").await;
    assert_eq!(user.get("/v1/demo/record").await.0, 404);
}
