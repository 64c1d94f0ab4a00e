//! Requests that come a byte at a time, thousands of them.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Door, Healthy, assert_grown_less, connect, door, is_served};

/// How many send their request slowly.
const SLOW: usize = 2000;
/// How often each of them sends a byte. None would be through within ten minutes.
const PACE: Duration = Duration::from_secs(1);
/// How long a test waits for the server to end them: many times what it allows.
const PATIENCE: Duration = Duration::from_mins(2);
const BODY_BYTES: usize = 1000;

/// Sends `begin` at once and then `rest`, a byte at a time, until the server responds or closes. Returns its response.
async fn dribble(mut stream: TcpStream, begin: &str, rest: &[u8]) -> String {
    stream.write_all(begin.as_bytes()).await.ok();
    let (mut reads, mut writes) = stream.split();
    let writing = async {
        for byte in rest {
            tokio::time::sleep(PACE).await;
            if writes.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
        // Whatever happens then, the reading ends it.
        std::future::pending::<()>().await;
    };
    let mut response = Vec::new();
    let reading = reads.read_to_end(&mut response);
    let ended = tokio::time::timeout(PATIENCE, async {
        tokio::select! {
            _ = reading => {}
            () = writing => {}
        }
    });
    assert!(ended.await.is_ok(), "the server lets a slow client go on");
    String::from_utf8_lossy(&response).to_ascii_lowercase()
}

/// The status of a response; 0 if there is none.
fn status(response: &str) -> u16 {
    response.split(' ').nth(1).map_or(0, |status| status.parse().unwrap())
}

/// What one of many sends: its beginning at once, and its rest a byte at a time.
struct SlowRequest {
    begin: String,
    rest: u8,
    /// The status that it gets in the end; 0 for a connection that is closed without a response.
    expected: u16,
}

/// Sends thousands of these, spread over the first second. All of them are ended; meanwhile and afterwards, others are
/// served, and the node has not grown.
async fn are_ended(door: &Door, request: impl Fn(usize) -> SlowRequest) {
    let healthy = Healthy::at(door).await;
    let before = door.server.resident();
    let request = &request;
    let all = (0..SLOW).map(async |n| {
        let SlowRequest { begin, rest, expected } = request(n);
        tokio::time::sleep(PACE * u32::try_from(n).unwrap() / u32::try_from(SLOW).unwrap()).await;
        let stream = connect(door.server.address(), n).await;
        let response = dribble(stream, &begin, &[rest; BODY_BYTES]).await;
        assert_eq!(status(&response), expected, "{begin}: {response}");
    });
    let while_they_send = async {
        tokio::time::sleep(PACE * 3).await;
        is_served(&door.user("another")).await;
    };
    tokio::join!(join_all(all), while_they_send);
    assert_grown_less(door, before, 128);
    healthy.has_everything().await;
}

#[tokio::test]
async fn thousands_of_bodies_that_come_a_byte_at_a_time_are_ended() {
    let door = door().await;
    are_ended(&door, |n| {
        // Every second one has no valid key, and is refused before its body is read. Others are for a body that is
        // read in another way.
        let (key, expected) =
            if n % 2 == 0 { (door.backend.key.as_str(), 408) } else { ("nobody", 401) };
        let path = if n % 4 < 2 { "/v1/notifications" } else { "/v1/presence" };
        let begin = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\ncontent-length: {BODY_BYTES}\r\n\r\n["
        );
        SlowRequest { begin, rest: b' ', expected }
    })
    .await;
}

#[tokio::test]
async fn thousands_of_handshakes_that_come_a_byte_at_a_time_are_ended() {
    let begin = "GET /v1/ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-protocol: ";
    let handshake = |_| SlowRequest { begin: begin.to_owned(), rest: b'x', expected: 0 };
    are_ended(&door().await, handshake).await;
}
