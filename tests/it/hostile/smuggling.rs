//! Requests that a proxy and a server could cut at different places, behind a real nginx.

use std::net::SocketAddr;

use doorstep_tests::reverse_proxy::{ProxyKind, ReverseProxy};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Healthy, door};

/// What would be a request of its own if the body before it ended too early.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n";

/// Heads of which the two could believe different lengths, with their bodies.
fn shapes() -> Vec<String> {
    let chunked = format!("0\r\n\r\n{SMUGGLED}");
    let length = chunked.len();
    let with = |headers: &str, body: &str| {
        format!(
            "POST /v1/sessions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{headers}\r\n{body}"
        )
    };
    vec![
        with(&format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n"), &chunked),
        with(&format!("content-length: {length}\r\ntransfer-encoding : chunked\r\n"), &chunked),
        with(&format!("content-length: {length}\r\ntransfer-encoding: xchunked\r\n"), &chunked),
        with(
            &format!(
                "content-length: {length}\r\ntransfer-encoding: identity\r\ntransfer-encoding: chunked\r\n"
            ),
            &chunked,
        ),
        with(&format!("content-length: 0\r\ncontent-length: {length}\r\n"), &chunked),
        with(&format!("content-length: +{length}\r\n"), &chunked),
        with(&format!("content-length: 0\r\n content-length: {length}\r\n"), &chunked),
    ]
}

/// Sends this. Returns everything that comes back until the connection is closed.
async fn send(address: SocketAddr, request: &str, ends: bool) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    if ends {
        stream.shutdown().await.unwrap();
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_smuggled_request_is_nobodys_answer() {
    let door = door().await;
    let healthy = Healthy::at(&door).await;
    let proxy = ReverseProxy::start(ProxyKind::Nginx, &door.server.address().to_string()).await;
    for shape in shapes() {
        // Straight to the server, a request of two lengths is refused, and nothing after it is read as a request.
        let straight = send(door.server.address(), &shape, true).await;
        let answers = straight.matches("HTTP/1.1 ").count();
        assert_eq!(answers, 1, "to\n{shape}\n{straight}");
        // nginx does not go on when a client has ended its side, so it is asked to close.
        let closing = shape.replacen("host: x\r\n", "host: x\r\nconnection: close\r\n", 1);
        send(proxy.address(), &closing, false).await;
        // Whoever comes next over the proxy's connections gets the answer to their own request.
        for _ in 0..4 {
            let next = "GET /health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
            let answer = send(proxy.address(), next, false).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "after\n{shape}\n{answer}");
        }
    }
    healthy.has_everything().await;
}
