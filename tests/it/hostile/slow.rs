//! Requests that come a byte at a time, thousands of them.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Healthy, assert_grown_less, connect, door, is_served};

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

#[tokio::test]
async fn thousands_of_bodies_that_come_a_byte_at_a_time_are_ended() {
    let door = door().await;
    let healthy = Healthy::at(&door).await;
    let before = door.server.resident();
    let all = (0..SLOW).map(async |n| {
        // Every second one has no valid key, and is refused before its body is read. Others are for a body that is
        // read in another way.
        let key = if n % 2 == 0 { door.backend.key.as_str() } else { "nobody" };
        let path = if n % 4 < 2 { "/v1/notifications" } else { "/v1/presence" };
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\ncontent-length: {BODY_BYTES}\r\n\r\n["
        );
        tokio::time::sleep(PACE * u32::try_from(n).unwrap() / u32::try_from(SLOW).unwrap()).await;
        let stream = connect(door.server.address(), n).await;
        let response = dribble(stream, &head, &[b' '; BODY_BYTES]).await;
        let expected = if n % 2 == 0 { 408 } else { 401 };
        assert_eq!(status(&response), expected, "{path}: {response}");
    });
    let while_they_send = async {
        tokio::time::sleep(PACE * 3).await;
        is_served(&door.user("another")).await;
    };
    tokio::join!(join_all(all), while_they_send);
    assert_grown_less(&door, before, 128);
    healthy.has_everything().await;
}

#[tokio::test]
async fn thousands_of_handshakes_that_come_a_byte_at_a_time_are_ended() {
    let door = door().await;
    let healthy = Healthy::at(&door).await;
    let before = door.server.resident();
    let begin = "GET /v1/ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-protocol: ";
    let all = (0..SLOW).map(async |n| {
        tokio::time::sleep(PACE * u32::try_from(n).unwrap() / u32::try_from(SLOW).unwrap()).await;
        let stream = connect(door.server.address(), n).await;
        let response = dribble(stream, begin, &[b'x'; BODY_BYTES]).await;
        assert_eq!(status(&response), 0, "{response}");
    });
    let while_they_send = async {
        tokio::time::sleep(PACE * 3).await;
        is_served(&door.user("another")).await;
    };
    tokio::join!(join_all(all), while_they_send);
    assert_grown_less(&door, before, 128);
    healthy.has_everything().await;
}
