//! The limits of every connection, for handshakes that never end and for clients that do not read.
#![cfg(target_os = "linux")]

use std::net::SocketAddr;

use doorstep_tests::server::{Doorstep, Server};
use doorstep_tests::tls::TlsClient;
use futures_util::{StreamExt as _, stream};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::{PATIENCE, ask, door, read_until, usual};
use crate::backends::{BARE, Door};
use crate::node::eventually;

async fn serve(limits: &str) -> Server {
    let file = format!("{BARE}{}\n[limits]\n{limits}", usual());
    let call = Doorstep::new(&["--listen", "127.0.0.1:0"]).file("doorstep.toml", &file);
    call.env("DOORSTEP_LOG", "info,doorstep_adapters=debug").start().await
}

/// A connection whose handshake has begun.
async fn unfinished(server: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(server).await.unwrap();
    stream.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
    stream
}

async fn is_closed(stream: &mut TcpStream) {
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut [0])).await.expect("it ends");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

#[tokio::test]
async fn unfinished_handshakes_give_way_end_in_time_and_hold_up_no_stop() {
    let mut server = serve("http_connections = 3").await;
    let mut slow = Vec::new();
    for _ in 0..3 {
        slow.push(unfinished(server.address()).await);
    }
    // All places are taken: the one that has waited longest gives way.
    let mut client = TlsClient::new().connect(server.address()).await.unwrap();
    is_closed(&mut slow[0]).await;
    client.write_all(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    read_until(&mut client, "HTTP/1.1 200").await;
    // The others end by themselves, when a head would have to be there.
    is_closed(&mut slow[1]).await;
    is_closed(&mut slow[2]).await;
    server.logged("overdue=Head", 2).await;
    let mut last = unfinished(server.address()).await;
    server.terminate();
    is_closed(&mut last).await;
    let finished = server.wait().await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(!finished.stderr.contains("requests were still running"), "{}", finished.stderr);
}

#[tokio::test]
async fn handshakes_count_per_address_and_a_refusal_can_be_read() {
    let server = serve("http_connections_per_address = 2").await;
    let slow = (unfinished(server.address()).await, unfinished(server.address()).await);
    let mut client = TlsClient::new().connect(server.address()).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{answer}");
    assert!(answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
    drop(slow);
    eventually("there is a place again", async || {
        let Ok(mut client) = TlsClient::new().connect(server.address()).await else { return false };
        let request = b"GET /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        let mut answer = String::new();
        client.write_all(request).await.is_ok()
            && client.read_to_string(&mut answer).await.is_ok()
            && answer.starts_with("HTTP/1.1 200")
    })
    .await;
}

/// How many connections a round opens, and how many from each address.
const CONNECTIONS: usize = 3000;
const PER_ADDRESS: usize = 100;

/// Connects from the n-th address, and sends the beginning of a first message that is as large as one may be.
async fn large_and_unfinished(server: SocketAddr, n: usize) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    let octet = u8::try_from(n).unwrap();
    socket.bind(SocketAddr::from(([127, 0, 10, octet + 1], 0))).unwrap();
    let mut stream = socket.connect(server).await.unwrap();
    let mut record = vec![22, 3, 1, 0x40, 0];
    record.resize(5 + 0x4000, 0);
    // The header of the message: its type, and its length of 65,535.
    let first = [&record[..5], &[1, 0, 0xff, 0xff], &record[9..]].concat();
    // The server may have closed the connection already, because it has to give way.
    let _ = stream.write_all(&[first, record].concat()).await;
    stream
}

#[tokio::test]
async fn three_thousand_large_handshakes_leave_no_memory_behind() {
    let server = serve("").await;
    let round = async || {
        let all = stream::iter(0..CONNECTIONS)
            .map(|n| large_and_unfinished(server.address(), n / PER_ADDRESS));
        let mut all: Vec<_> = all.buffered(64).collect().await;
        is_closed(&mut all[0]).await;
        all
    };
    // The first round also pays for what stays: stacks, tables and the allocator's own memory.
    drop(round().await);
    let before = server.resident();
    for _ in 0..2 {
        let all = round().await;
        assert!(TlsClient::new().connect(server.address()).await.is_ok(), "it still serves");
        drop(all);
    }
    let (after, peak) = (server.resident(), server.peak());
    println!("resident: {before} MiB after one round, {after} MiB after three, {peak} MiB at most");
    // All of these messages together have 94 MiB.
    assert!(peak < 128, "{peak} MiB at most");
    assert!(after < before + 16, "{before} MiB after one round, {after} MiB after three");
}

#[tokio::test]
async fn a_websocket_that_is_not_read_is_too_slow() {
    let door: Door = door().await;
    let backend = door.backend.at(&TlsClient::new().plain_url(door.server.address()).await);
    let ada = door.user("ada");
    let tcp = TcpSocket::new_v4().unwrap();
    tcp.set_recv_buffer_size(4096).unwrap();
    let tcp = tcp.connect(door.server.address()).await.unwrap();
    let mut socket = TlsClient::new().over(tcp).await.unwrap();
    let request = format!(
        "GET /v1/ws HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\nconnection: upgrade\r\n\
         upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-protocol: doorstep.v1\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        ada.token
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    read_until(&mut socket, "\r\n\r\n").await;
    // More than the kernel's buffers take.
    let notification = json!({"user_id": "ada", "kind": "news", "payload": "x".repeat(16 * 1024)});
    for _ in 0..16 {
        backend.publish(&json!(vec![notification.clone(); 50])).await;
    }
    let ended = "doorstep_connections_ended_total{reason=\"too_slow\"} 1";
    eventually("it is too slow", async || {
        ask(&door, "GET /metrics HTTP/1.1").await.contains(ended)
    })
    .await;
    drop(socket);
}
