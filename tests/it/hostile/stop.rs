//! A stop with many connections.

use std::sync::Arc;
use std::time::{Duration, Instant};

use doorstep_tests::client::User;
use doorstep_tests::server::{Doorstep, SqliteFile};
use futures_util::{SinkExt as _, StreamExt as _, future::join_all, stream};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::{ClientRequestBuilder, Message};

use super::{Raw, connect, door, head, many_files, open_all, until_connected};
use crate::backends::{Door, token};

const SOCKETS: usize = 1000;
const STREAMS: usize = 200;
/// So many users have a connection when the server is asked to stop.
const USERS: usize = 1000;
/// The connections beside theirs make the drain longer.
const OTHERS: usize = 1000;

/// Waits for the close code of a WebSocket, and then for its end.
async fn close_code(mut socket: Raw) -> u16 {
    loop {
        match socket.next().await {
            Some(Ok(Message::Close(Some(frame)))) => {
                let _ = socket.next().await;
                return frame.code.into();
            }
            Some(Ok(_)) => {}
            other => panic!("no close frame but {other:?}"),
        }
    }
}

/// Opens the n-th event stream of the hostile user.
pub(super) async fn open_stream(door: &Door, n: usize) -> TcpStream {
    let mut stream = connect(door.server.address(), n).await;
    let request = format!(
        "GET /v1/notifications/stream HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n",
        token("hostile")
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let head = head(&mut stream).await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    stream
}

/// Waits for the end of an event stream, and returns the code in its last event.
async fn closing_code(mut stream: TcpStream) -> u16 {
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    let (_, closing) = rest.split_once("event: closing\ndata: {\"code\":").expect("its last event");
    closing.split('}').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_stop_closes_sockets_and_streams_with_1012() {
    let door = door().await;
    let sockets = open_all(door.server.address(), SOCKETS).await;
    let streams: Vec<_> =
        stream::iter(0..STREAMS).map(|n| open_stream(&door, n)).buffered(64).collect().await;
    until_connected(&door, SOCKETS + STREAMS).await;
    door.server.terminate();
    let sockets = join_all(sockets.into_iter().map(close_code));
    let streams = join_all(streams.into_iter().map(closing_code));
    let (sockets, streams) = tokio::join!(sockets, streams);
    assert_eq!(sockets, [1012; SOCKETS]);
    assert_eq!(streams, [1012; STREAMS]);
    assert_eq!(door.server.wait().await.code, Some(0));
}

/// Nobody is told before their turn, so that clients do not all reconnect at once. Only that is asserted: a slow machine
/// may be late, and then catches up.
#[tokio::test]
async fn a_stop_closes_no_connection_before_its_turn() {
    const ALL: usize = 2000;
    const DRAIN: Duration = Duration::from_secs(2);
    let door = door().await;
    let sockets = open_all(door.server.address(), ALL - STREAMS).await;
    let streams: Vec<_> =
        stream::iter(0..STREAMS).map(|n| open_stream(&door, n)).buffered(64).collect().await;
    until_connected(&door, ALL).await;
    let begun = Instant::now();
    door.server.terminate();
    let sockets = join_all(sockets.into_iter().map(async |socket| {
        close_code(socket).await;
        begun.elapsed()
    }));
    let streams = join_all(streams.into_iter().map(async |stream| {
        closing_code(stream).await;
        begun.elapsed()
    }));
    let (mut closed, streams) = tokio::join!(sockets, streams);
    closed.extend(streams);
    closed.sort_unstable();
    for (before, closed) in closed.iter().enumerate() {
        let turn = DRAIN * u32::try_from(before + 1).unwrap() / u32::try_from(ALL).unwrap();
        assert!(*closed >= turn, "{before} were closed, and another after {closed:?}");
    }
    assert_eq!(door.server.wait().await.code, Some(0));
}

/// Connects this user, of whom there may be a thousand.
async fn connect_user(door: &Door, n: usize) -> Raw {
    let (server, name) = (door.server.address(), format!("user-{n}"));
    let request = ClientRequestBuilder::new(format!("ws://{server}/v1/ws").parse().unwrap())
        .with_header("authorization", format!("Bearer {}", token(&name)))
        .with_sub_protocol("doorstep.v1");
    client_async(request, connect(server, n).await).await.unwrap().0
}

/// Acknowledges what comes until the server closes. Returns the numbers of what came.
async fn acknowledge_until_closed(mut socket: Raw, closed: Arc<Notify>) -> Vec<u64> {
    let mut got = Vec::new();
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Text(text) => {
                let frame: Value = serde_json::from_str(&text).unwrap();
                if frame["type"] == "notification" {
                    got.push(frame["payload"].as_u64().unwrap());
                    let ack = json!({"type": "ack", "id": frame["id"]});
                    // Fails once the server's close frame has been read.
                    socket.send(Message::text(ack.to_string())).await.ok();
                }
            }
            Message::Close(_) => closed.notify_one(),
            _ => {}
        }
    }
    got
}

/// Sends the first half of a publishing request, and the second when the drain has begun.
async fn publish_during_the_drain(mut stream: TcpStream, key: &str, body: &str, begun: &Notify) {
    let head = format!(
        "POST /v1/notifications HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let (first, second) = body.split_at(body.len() / 2);
    stream.write_all(format!("{head}{first}").as_bytes()).await.unwrap();
    begun.notified().await;
    stream.write_all(second.as_bytes()).await.unwrap();
    let answer = super::head(&mut stream).await;
    assert!(answer.starts_with("http/1.1 202"), "{answer}");
}

#[tokio::test]
async fn what_is_published_during_a_drain_reaches_everybody_once() {
    many_files();
    let database = SqliteFile::new();
    let call = Doorstep::new(&["--listen", "127.0.0.1:0"]).env("DATABASE_URL", &database.url());
    let file = "[trading]\nenabled = false\n[limits]\nconnections_per_user = 10000\n\
                [delivery]\nttl = \"1h\"\nack_timeout = \"1h\"\n[log]\nfilter = \"warn,doorstep::composition::stop=info\"\n";
    let door = Door::of(call, file).await;
    let others = open_all(door.server.address(), OTHERS).await;
    until_connected(&door, OTHERS).await;
    let sockets: Vec<_> =
        stream::iter(0..USERS).map(|n| connect_user(&door, n)).buffered(64).collect().await;
    crate::node::eventually("all users are connected", async || {
        let last = door.backend.get(&format!("/v1/users/user-{}", USERS - 1)).await;
        last.1["online"] == true
    })
    .await;
    // The last of each user's two: the first has come before the stop.
    let numbered = |number: u64| -> Vec<Value> {
        let one =
            |n| json!({"user_id": format!("user-{n}"), "kind": "numbered", "payload": number});
        (0..USERS).map(one).collect()
    };
    door.backend.publish(&json!(numbered(1))).await;
    let drains = Arc::new(Notify::new());
    let users = sockets.into_iter().map(|socket| acknowledge_until_closed(socket, drains.clone()));
    let users = join_all(users.map(tokio::spawn));
    let others = join_all(others.into_iter().map(close_code).map(tokio::spawn));
    let stream = TcpStream::connect(door.server.address()).await.unwrap();
    let body = json!(numbered(2)).to_string();
    let publishing = publish_during_the_drain(stream, &door.backend.key, &body, &drains);
    let stopping = async {
        crate::node::eventually("the first of each is acknowledged", async || {
            let metrics = reqwest::get(format!("{}/metrics", door.server.url())).await.unwrap();
            let all = format!(r#"outcome="delivered"}} {USERS}"#);
            metrics.text().await.unwrap().lines().any(|line| line.ends_with(&all))
        })
        .await;
        door.server.terminate();
    };
    let (users, _, (), ()) = tokio::join!(users, others, publishing, stopping);
    let before: Vec<_> = users.into_iter().map(Result::unwrap).collect();
    let Door { call, server, backend } = door;
    let stopped = server.wait().await;
    assert_eq!(stopped.code, Some(0));
    // What somebody has acknowledged is not handed over, even if the acknowledgement met the close frame.
    let missing = before.iter().filter(|got| got.len() == 1).count();
    println!("{missing} were not pushed to during the drain");
    // Connections that are all closed at once take nothing more; these are closed over two seconds.
    assert!(missing < USERS, "nobody was pushed to during the drain");
    let handed_over = format!("handed_over={missing} ");
    assert!(stopped.stderr.contains(&handed_over), "not {handed_over}: {}", stopped.stderr);
    let server = call.start().await;
    let door = Door { call, server, backend };

    let after = stream::iter(before.into_iter().enumerate()).map(async |(n, mut got)| {
        let name = format!("user-{n}");
        let user = User::with_token(door.server.url(), &name, &token(&name));
        let mut socket = user.connect("doorstep.v1").await;
        if got.len() == 1 {
            got.push(socket.notification().await["payload"].as_u64().unwrap());
        }
        assert_eq!(socket.round_trip().await, Vec::<String>::new(), "{name}");
        assert_eq!(got, [1, 2], "{name} got each once");
    });
    after.buffer_unordered(64).collect::<()>().await;
}
