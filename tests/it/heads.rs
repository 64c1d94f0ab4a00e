//! Heads of requests that never end, sent to the real binary by strangers.
#![cfg(target_os = "linux")]

use std::net::SocketAddr;

use doorstep_tests::server::Doorstep;
use futures_util::{StreamExt as _, stream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// How many connections a round opens.
const CONNECTIONS: usize = 3000;
/// Each address opens this many, fewer than an address may.
const PER_ADDRESS: usize = 100;
/// A little less than a head may have.
const HEAD: usize = 31 * 1024;

/// Connects from the n-th address, and sends a head that does not end.
async fn unfinished(server: SocketAddr, n: usize) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    let octet = u8::try_from(n).unwrap();
    socket.bind(SocketAddr::from(([127, 0, 9, octet + 1], 0))).unwrap();
    let mut stream = socket.connect(server).await.unwrap();
    let head = format!("GET /health/live HTTP/1.1\r\nhost: x\r\nx-long: {}", "a".repeat(HEAD));
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// One round: everybody sends, and leaves.
async fn round(server: SocketAddr) {
    // Not all at once: the system's queue of connections to accept is shorter.
    let all = stream::iter(0..CONNECTIONS).map(|n| unfinished(server, n / PER_ADDRESS));
    let mut all: Vec<_> = all.buffered(64).collect().await;
    // The oldest gave way to the newest, which are served when they end their heads.
    for stream in all.iter_mut().rev().take(10) {
        stream.write_all(b"\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    }
    let closed = all[0].read(&mut [0]).await;
    assert!(matches!(closed, Ok(0) | Err(_)), "the oldest did not give way");
}

#[tokio::test]
async fn three_thousand_unfinished_heads_leave_no_memory_behind() {
    let server = Doorstep::new(&["--listen", "127.0.0.1:0"])
        .env("DOORSTEP_TRADING__ENABLED", "false")
        .env("DOORSTEP_INBOX__ENABLED", "false")
        .env("DOORSTEP_HANDOVER__ENABLED", "false")
        .start()
        .await;
    let address: SocketAddr = server.url().strip_prefix("http://").unwrap().parse().unwrap();
    // The first round also pays for what stays: stacks, tables and the allocator's own memory.
    round(address).await;
    let before = server.resident();
    for _ in 0..2 {
        round(address).await;
    }
    let (after, peak) = (server.resident(), server.peak());
    println!("resident: {before} MiB after one round, {after} MiB after three, {peak} MiB at most");
    // All of these heads together have 94 MiB, in buffers of twice that.
    assert!(peak < 128, "{peak} MiB at most");
    assert!(after < before + 16, "{before} MiB after one round, {after} MiB after three");
}
