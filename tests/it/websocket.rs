//! Live connections over real sockets: how they begin, what they carry, and how they end.

use std::net::SocketAddr;
use std::time::Duration;

use doorstep_adapters::connections;
use doorstep_adapters::websocket::WebSocketSettings;
use doorstep_domain::ports::Presence as _;
use doorstep_domain::{Notification, Outcome, UserId};
use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::{Method, header};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::node::{Node, Options, PASSWORD, eventually};

type Socket = WebSocketStream<TcpStream>;

/// Request headers.
type Headers<'a> = Vec<(&'static str, &'a str)>;

/// Connects with these headers.
async fn open(
    address: SocketAddr,
    headers: &[(&'static str, &str)],
) -> Result<(Socket, Response), Error> {
    let mut request = format!("ws://{address}/v1/ws").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().append(*name, HeaderValue::from_str(value).unwrap());
    }
    let stream = TcpStream::connect(address).await.unwrap();
    client_async(request, stream).await
}

/// Connects as a browser does, with the token in the subprotocols.
async fn connect(node: &Node, token: &str, protocol: &str) -> Socket {
    let offered = format!("{protocol}, bearer.{token}");
    let (socket, response) =
        open(node.address, &[("sec-websocket-protocol", &offered)]).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], protocol, "never the token");
    socket
}

/// The next notification.
async fn notification(socket: &mut Socket) -> Value {
    loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Close(frame) => panic!("closed: {frame:?}"),
            _ => {}
        }
    }
}

/// Reads until the connection closes. Returns the close code.
async fn close_code(socket: &mut Socket) -> Option<u16> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code.into()),
            Some(Ok(_)) => {}
            Some(Err(error)) => panic!("broken off: {error}"),
            None => return None,
        }
    }
}

/// A well-behaved user, who must not notice when others misbehave.
struct Bystander {
    id: UserId,
    socket: Socket,
}

impl Bystander {
    async fn at(node: &Node) -> Self {
        let user = node.register("bystander").await;
        let mut socket = connect(node, &user.token, "doorstep.plain.v1").await;
        for _ in 0..2 {
            notification(&mut socket).await;
        }
        Self { id: user.id, socket }
    }

    async fn is_well(&mut self, node: &Node) {
        let sent = node.notification(&self.id, 3);
        let id = sent.id.to_string();
        let receipt = node.delivery.send(sent).await.unwrap();
        assert_eq!(notification(&mut self.socket).await["id"], id);
        assert_eq!(receipt.outcome().await, Some(Outcome::Delivered));
    }
}

#[tokio::test]
async fn a_user_who_connects_late_gets_waiting_notifications() {
    let node = Node::start().await;
    let ada = node.register("ada").await;
    eventually("two notifications wait", async || node.delivery.held().waiting == 2).await;

    let mut socket = connect(&node, &ada.token, "doorstep.plain.v1").await;
    let welcome = notification(&mut socket).await;
    assert_eq!((&welcome["kind"], &welcome["topic"]), (&json!("welcome"), &Value::Null));
    assert_eq!(welcome["payload"]["username"], "ada");
    assert_eq!(welcome["type"], "notification");
    let reward = notification(&mut socket).await;
    assert_eq!(reward["kind"], "reward.granted");
    assert_eq!(reward["payload"]["amount"], "1000.00");
    eventually("nothing waits", async || node.delivery.ended(Outcome::Delivered) == 2).await;
}

#[tokio::test]
async fn an_acknowledging_client_has_what_it_says_it_has() {
    let node = Node::start().await;
    let ada = node.register("ada").await;
    let mut socket = connect(&node, &ada.token, "doorstep.v1").await;
    let welcome = notification(&mut socket).await;
    let reward = notification(&mut socket).await;
    let ack = json!({"type": "ack", "id": welcome["id"]}).to_string();
    socket.send(Message::text(ack)).await.unwrap();
    eventually("the first is delivered", async || node.delivery.ended(Outcome::Delivered) == 1)
        .await;
    // It leaves without acknowledging the second, and comes back.
    drop(socket);
    eventually("it is gone", async || !node.connections.is_online(&ada.id).await).await;
    let mut socket = connect(&node, &ada.token, "doorstep.v1").await;
    assert_eq!(notification(&mut socket).await["id"], reward["id"]);
}

#[tokio::test]
async fn all_connections_of_a_user_are_pushed_to() {
    let node = Node::start().await;
    let ada = node.register("ada").await;
    eventually("two wait", async || node.delivery.held().waiting == 2).await;
    let mut tabs = Vec::new();
    for _ in 0..3 {
        tabs.push(connect(&node, &ada.token, "doorstep.plain.v1").await);
    }
    eventually("three are there", async || node.connections.count() == 3).await;
    eventually("none waits", async || node.delivery.ended(Outcome::Delivered) == 2).await;
    let sent = node.notification(&ada.id, 3);
    let id = sent.id.to_string();
    drop(node.delivery.send(sent).await.unwrap());
    for tab in &mut tabs {
        while notification(tab).await["id"] != id {}
    }
}

#[tokio::test]
async fn a_refused_connection_gets_its_status_before_the_upgrade() {
    let node = Node::start().await;
    let ada = node.register("ada").await;
    let bearer = format!("Bearer {}", ada.token);
    let own = format!("http://{}", node.address);
    let offered = format!("bearer.{}", ada.token);
    let cases: [(&str, Headers<'_>, u16); 8] = [
        ("no token", vec![], 401),
        ("a dead one", vec![("authorization", "Bearer dead")], 401),
        ("a dead one offered", vec![("sec-websocket-protocol", "doorstep.v1, bearer.dead")], 401),
        ("only a token offered", vec![("sec-websocket-protocol", &offered)], 400),
        (
            "a page of another origin",
            vec![("authorization", &bearer), ("origin", "https://evil.example")],
            403,
        ),
        ("a page from nowhere", vec![("authorization", &bearer), ("origin", "null")], 403),
        ("our page", vec![("authorization", &bearer), ("origin", &own)], 101),
        ("no page", vec![("authorization", &bearer)], 101),
    ];
    for (what, headers, status) in cases {
        let (answered, content_type) = match open(node.address, &headers).await {
            Ok((_, response)) => (response.status(), None),
            Err(Error::Http(response)) => {
                let content_type = response.headers()[header::CONTENT_TYPE.as_str()].clone();
                (response.status(), Some(content_type))
            }
            Err(error) => panic!("{what}: {error}"),
        };
        assert_eq!(answered.as_u16(), status, "{what}");
        assert_eq!(content_type.is_none(), status == 101, "{what}");
        assert!(content_type.is_none_or(|it| it == "application/problem+json"), "{what}");
    }
    let plain = node.request(Method::GET, "/v1/ws").bearer_auth(&ada.token);
    let response = plain.send().await.unwrap();
    assert_eq!(response.status(), 426);
    assert_eq!(response.headers()[header::UPGRADE], "websocket");
}

#[tokio::test]
async fn no_subprotocol_offered_is_plain() {
    let node = Node::start().await;
    let ada = node.register("ada").await;
    let bearer = format!("Bearer {}", ada.token);
    let (mut socket, response) = open(node.address, &[("authorization", &bearer)]).await.unwrap();
    assert!(!response.headers().contains_key("sec-websocket-protocol"));
    notification(&mut socket).await;
    eventually("written is delivered", async || node.delivery.ended(Outcome::Delivered) > 0).await;
}

/// A text message with arbitrary bytes.
fn raw_text(bytes: &[u8]) -> Message {
    Message::Frame(Frame::message(bytes.to_vec(), OpCode::Data(Data::Text), true))
}

#[tokio::test]
async fn every_bad_frame_has_its_code_and_hurts_nobody_else() {
    let node = Node::start().await;
    let mut bystander = Bystander::at(&node).await;
    let ada = node.register("ada").await;
    let unfinished =
        Message::Frame(Frame::message(vec![b' '; 4000], OpCode::Data(Data::Text), false));
    let rest = Message::Frame(Frame::message(vec![b' '; 4000], OpCode::Data(Data::Continue), true));
    let stray = Message::Frame(Frame::message(vec![], OpCode::Data(Data::Continue), true));
    let large = |size: usize| Message::text(format!("{{\"a\":\"{}\"}}", "x".repeat(size)));
    let cases = [
        ("binary", vec![Message::binary(vec![1, 2, 3])], 1003),
        ("empty binary", vec![Message::binary(vec![])], 1003),
        ("not JSON", vec![Message::text("hello")], 1007),
        ("nothing", vec![Message::text("")], 1007),
        ("half of it", vec![Message::text("{\"type\":\"ack\"")], 1007),
        ("a list", vec![Message::text("[]")], 1007),
        ("an ack of nothing", vec![Message::text("{\"type\":\"ack\"}")], 1007),
        ("an ack of a number", vec![Message::text("{\"type\":\"ack\",\"id\":7}")], 1007),
        ("nested too deep", vec![Message::text("[".repeat(4000))], 1007),
        ("not UTF-8", vec![raw_text(&[b'"', 0xff, b'"'])], 1007),
        ("half a character", vec![raw_text(&[b'"', 0xc3])], 1007),
        ("a byte too many", vec![large(4097 - 8)], 1009),
        ("far too large", vec![large(1 << 20)], 1009),
        ("too large together", vec![unfinished, rest], 1009),
        ("the middle of nothing", vec![stray], 1002),
    ];
    for protocol in ["doorstep.v1", "doorstep.plain.v1"] {
        for (what, messages, code) in &cases {
            let mut socket = connect(&node, &ada.token, protocol).await;
            for message in messages {
                socket.send(message.clone()).await.unwrap();
            }
            assert_eq!(close_code(&mut socket).await, Some(*code), "{protocol}: {what}");
        }
    }
    bystander.is_well(&node).await;
    eventually("only the bystander is left", async || node.connections.count() == 1).await;
}

#[tokio::test]
async fn well_formed_messages_do_not_close_the_connection() {
    let node = Node::start().await;
    let ada = node.register("ada").await;
    for protocol in ["doorstep.v1", "doorstep.plain.v1"] {
        let mut socket = connect(&node, &ada.token, protocol).await;
        let stranger = "00000000-0000-7000-8000-000000000000";
        for text in [
            "{}".to_owned(),
            r#"{"type":"typing","to":"bob"}"#.into(),
            r#"{"type":["ack"]}"#.into(),
            r#"{"type":"ack","id":"no such thing"}"#.into(),
            format!(r#"{{"type":"ack","id":"{stranger}"}}"#),
            format!("{{\"a\":\"{}\"}}", "x".repeat(4096 - 8)),
        ] {
            socket.send(Message::text(text)).await.unwrap();
        }
        socket.send(Message::Ping(vec![7].into())).await.unwrap();
        loop {
            match socket.next().await.unwrap().unwrap() {
                Message::Pong(body) => break assert_eq!(body.as_ref(), [7]),
                Message::Close(frame) => panic!("{protocol}: {frame:?}"),
                _ => {}
            }
        }
        // The server answers a close frame.
        socket.close(None).await.unwrap();
        assert_eq!(close_code(&mut socket).await, None);
    }
}

#[tokio::test]
async fn signing_out_ends_that_sessions_connections_and_no_others() {
    let node = Node::start().await;
    let ada = node.register("ada").await;
    let body = json!({"username": "ada", "password": PASSWORD});
    let second: Value = node.post("/v1/sessions", &body).await.json().await.unwrap();
    let second = second["token"].as_str().unwrap();
    let mut first_tab = connect(&node, &ada.token, "doorstep.plain.v1").await;
    let mut other_device = connect(&node, second, "doorstep.plain.v1").await;
    eventually("both are there", async || node.connections.count() == 2).await;

    let sign_out = node.request(Method::DELETE, "/v1/sessions/current").bearer_auth(&ada.token);
    assert_eq!(sign_out.send().await.unwrap().status(), 204);
    assert_eq!(close_code(&mut first_tab).await, Some(4401));

    let sent = node.notification(&ada.id, 3);
    let id = sent.id.to_string();
    drop(node.delivery.send(sent).await.unwrap());
    while notification(&mut other_device).await["id"] != id {}
    let bearer = format!("Bearer {}", ada.token);
    let again = open(node.address, &[("authorization", &bearer)]).await;
    assert!(matches!(again, Err(Error::Http(response)) if response.status() == 401));
}

#[tokio::test]
async fn beyond_a_limit_a_connection_is_told_to_retry_and_places_become_free() {
    let limits = [
        connections::ConnectionSettings { max_per_user: 1, ..Default::default() },
        connections::ConnectionSettings { max_per_address: 1, ..Default::default() },
        connections::ConnectionSettings { max_websockets: 1, ..Default::default() },
    ];
    for connections in limits {
        let what = format!("{connections:?}");
        let node = Node::with(Options { connections, ..Options::default() }).await;
        let ada = node.register("ada").await;
        let first = connect(&node, &ada.token, "doorstep.plain.v1").await;
        eventually("the first is there", async || node.connections.is_online(&ada.id).await).await;
        let mut second = connect(&node, &ada.token, "doorstep.plain.v1").await;
        assert_eq!(close_code(&mut second).await, Some(1013), "{what}");
        drop(first);
        eventually("there is a place again", async || !node.connections.is_online(&ada.id).await)
            .await;
        let sent = node.notification(&ada.id, 3);
        let id = sent.id.to_string();
        drop(node.delivery.send(sent).await.unwrap());
        let mut third = connect(&node, &ada.token, "doorstep.plain.v1").await;
        while notification(&mut third).await["id"] != id {}
    }
}

#[tokio::test]
async fn a_stop_asks_everybody_to_come_back() {
    let node = Node::start().await;
    let ada = node.register("ada").await;
    let mut tabs = Vec::new();
    for _ in 0..5 {
        tabs.push(connect(&node, &ada.token, "doorstep.v1").await);
    }
    eventually("all are there", async || node.connections.count() == 5).await;
    let goodbyes = async {
        for tab in &mut tabs {
            assert_eq!(close_code(tab).await, Some(1012));
            let _ = tab.next().await;
        }
    };
    let (left, ()) = tokio::join!(node.connections.stop(Duration::from_mins(1)), goodbyes);
    assert_eq!(left, 0);
    assert_eq!(node.connections.count(), 0);
    let mut late = connect(&node, &ada.token, "doorstep.v1").await;
    assert_eq!(close_code(&mut late).await, Some(1012));
}

/// Connects with a small receive buffer, which takes little of what the server writes.
async fn connect_with_little_room(node: &Node, token: &str) -> Socket {
    let tcp = TcpSocket::new_v4().unwrap();
    tcp.set_recv_buffer_size(4096).unwrap();
    let stream = tcp.connect(node.address).await.unwrap();
    let mut request = format!("ws://{}/v1/ws", node.address).into_client_request().unwrap();
    let bearer = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
    request.headers_mut().insert("authorization", bearer);
    client_async(request, stream).await.unwrap().0
}

/// Sends a user who does not read more than the kernel's buffers (a few MiB at most) and an outbox can hold.
async fn overwhelm(node: &Node, user: &UserId) {
    for _ in 0..1_000 {
        let sent = Notification { topic: None, ..node.notification(user, 16 * 1024) };
        drop(node.delivery.send(sent).await.unwrap());
        // Lets the connection's task run now and then, as on a busy machine.
        tokio::task::yield_now().await;
        if !node.connections.is_online(user).await {
            return;
        }
    }
}

/// A node with a shorter time limit for slow sockets.
fn impatient(close_grace: Duration) -> Options {
    Options {
        websocket: WebSocketSettings {
            slow_close_grace: close_grace,
            ..WebSocketSettings::default()
        },
        connections: connections::ConnectionSettings {
            too_slow_after: Duration::from_secs(1),
            ..connections::ConnectionSettings::default()
        },
        ..Options::default()
    }
}

#[tokio::test]
async fn a_client_that_stops_reading_is_told_so_if_it_reads_on() {
    let node = Node::with(impatient(Duration::from_mins(1))).await;
    let mut bystander = Bystander::at(&node).await;
    let slow = node.register("slow").await;
    let mut socket = connect_with_little_room(&node, &slow.token).await;
    eventually("it is there", async || node.connections.is_online(&slow.id).await).await;
    overwhelm(&node, &slow.id).await;
    eventually("it counts as absent", async || !node.connections.is_online(&slow.id).await).await;
    bystander.is_well(&node).await;
    assert_eq!(close_code(&mut socket).await, Some(4408));
}

#[tokio::test]
async fn a_client_that_never_reads_on_is_gone_all_the_same() {
    let node = Node::with(impatient(Duration::from_millis(10))).await;
    let mut bystander = Bystander::at(&node).await;
    let slow = node.register("slow").await;
    let socket = connect_with_little_room(&node, &slow.token).await;
    eventually("it is there", async || node.connections.is_online(&slow.id).await).await;
    overwhelm(&node, &slow.id).await;
    bystander.is_well(&node).await;
    eventually("its place is free", async || node.connections.count() == 1).await;
    drop(socket);
}
