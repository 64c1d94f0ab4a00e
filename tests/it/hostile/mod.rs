//! Slow and hostile clients of the real binary. Its memory stays bounded, and a healthy client beside them loses nothing.
#![cfg(target_os = "linux")]

mod deep;
mod floods;
mod frame_limits;
mod frames;
mod half_open;
mod half_written;
mod opening;
mod readers;
mod registrations;
mod slow;
mod smuggling;
mod stop;
mod streams;

use std::net::SocketAddr;
use std::time::Duration;

use doorstep_tests::client::{Socket, User};
use futures_util::{StreamExt as _, stream};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::json;
use socket2::SockRef;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::ClientRequestBuilder;
use tokio_tungstenite::{WebSocketStream, client_async};
use uuid::Uuid;

use crate::backends::{BARE, Backend, Door, token};

/// Each address opens this many connections, fewer than an address may.
const PER_ADDRESS: usize = 500;
/// How often the healthy client is sent something.
const PACE: Duration = Duration::from_millis(20);

type Raw = WebSocketStream<TcpStream>;

/// A server without simulation and database, and with many connections for one user.
async fn door() -> Door {
    door_with("[limits]\nconnections_per_user = 100000").await
}

/// A server without simulation and database, with these lines in its configuration.
async fn door_with(file: &str) -> Door {
    many_files();
    Door::with(&format!("{BARE}\n{file}\n[log]\nfilter = \"warn\"\n")).await
}

/// Lets this process, and the servers that it starts, have many open files.
fn many_files() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
}

/// A client that behaves, and is sent numbered notifications until the end.
struct Healthy {
    enough: oneshot::Sender<()>,
    sending: JoinHandle<u64>,
    reading: JoinHandle<Socket>,
}

impl Healthy {
    async fn at(door: &Door) -> Self {
        let user = door.user("healthy");
        let mut socket = user.connect("doorstep.v1").await;
        let (enough, mut asked) = oneshot::channel();
        let backend: Backend = door.backend.clone();
        let sending = tokio::spawn(async move {
            let mut number = 0;
            loop {
                let last = asked.try_recv().is_ok();
                let payload = json!({"number": number, "last": last});
                let id = Uuid::now_v7();
                let body =
                    json!({"id": id, "user_id": "healthy", "kind": "numbered", "payload": payload});
                // An idle connection may give way to a newer one at the moment when it is used.
                while backend.try_publish(&body).await.is_err() {}
                number += 1;
                if last {
                    return number;
                }
                tokio::time::sleep(PACE).await;
            }
        });
        let reading = tokio::spawn(async move {
            for number in 0.. {
                let notification = socket.notification().await;
                assert_eq!(notification["payload"]["number"], number, "in order, without a gap");
                socket.acknowledge(&notification).await;
                if notification["payload"]["last"] == true {
                    break;
                }
            }
            socket
        });
        Self { enough, sending, reading }
    }

    /// It has received everything, in order, over its first connection, and nothing twice.
    async fn has_everything(self) {
        self.enough.send(()).expect("its notifications were accepted");
        let sent = self.sending.await.unwrap();
        let mut socket = self.reading.await.unwrap();
        assert_eq!(socket.round_trip().await, Vec::<String>::new());
        println!("the healthy client received {sent}");
    }
}

/// Connects from the address of the n-th client, and takes little of what the server writes: about 50 KiB.
async fn connect(server: SocketAddr, n: usize) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    let octet = u8::try_from(n / PER_ADDRESS).unwrap();
    // As over Ethernet: to a local socket with its large segments, the system writes three megabytes ahead.
    SockRef::from(&socket).set_tcp_mss(1448).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind(SocketAddr::from(([127, 0, 10, octet + 1], 0))).unwrap();
    socket.connect(server).await.unwrap()
}

/// The n-th WebSocket of the hostile user.
async fn open(server: SocketAddr, n: usize) -> Raw {
    let stream = connect(server, n).await;
    let request = ClientRequestBuilder::new(format!("ws://{server}/v1/ws").parse().unwrap())
        .with_header("authorization", format!("Bearer {}", token("hostile")))
        .with_sub_protocol("doorstep.v1");
    client_async(request, stream).await.unwrap().0
}

/// This many connections of the hostile user.
async fn open_all(server: SocketAddr, count: usize) -> Vec<Raw> {
    // Not all at once: the system's queue of connections to accept is shorter.
    stream::iter(0..count).map(|n| open(server, n)).buffered(64).collect().await
}

/// Waits until the hostile user has this many connections.
async fn until_connected(door: &Door, count: usize) {
    crate::node::eventually("the hostile connections are counted", async || {
        door.backend.get("/v1/users/hostile").await.1["connections"] == count
    })
    .await;
}

/// Reads the head of an HTTP response, and what has come with it; less if the connection ends first.
async fn head(stream: &mut TcpStream) -> String {
    let mut got = Vec::new();
    let mut some = [0; 4096];
    while !got.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut some).await {
            Ok(count @ 1..) => got.extend_from_slice(&some[..count]),
            Ok(0) | Err(_) => break,
        }
    }
    String::from_utf8_lossy(&got).to_ascii_lowercase()
}

/// Publishes this many notifications of 16 KiB to the hostile user.
async fn publish_large(door: &Door, count: usize) {
    let payload = json!({"text": "x".repeat(16 * 1024)});
    let one = json!({"user_id": "hostile", "kind": "large", "payload": payload});
    // In a few requests, because a slow machine must not need longer for this than slow clients may live.
    for _ in 0..count / 50 {
        door.backend.publish(&json!(vec![&one; 50])).await;
    }
}

/// Asserts that the server's memory has grown by less than this many MiB.
fn assert_grown_less(door: &Door, before: u64, bound: u64) {
    let after = door.server.resident();
    println!("resident: {before} MiB before, {after} MiB after");
    assert!(after < before + bound, "{before} MiB before, {after} MiB after");
}

/// Another user of the same server is served.
async fn is_served(user: &User) {
    user.connect("doorstep.v1").await.round_trip().await;
}
