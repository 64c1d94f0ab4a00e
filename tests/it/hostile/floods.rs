//! More connections than one address or one user may have.

use futures_util::{SinkExt as _, StreamExt as _, stream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;

use super::{
    Healthy, PER_ADDRESS, Raw, connect, door_with, head, is_served, open, until_connected,
};
use crate::backends::{Door, token};

/// How many connections an address, or a user, may have in these tests.
const ALLOWED: usize = 50;
/// How many there are.
const FLOOD: usize = 1000;

/// Whether it is still open; otherwise the code with which the server has closed it.
async fn state(mut socket: Raw) -> Result<Raw, u16> {
    // Everything that the server has sent before comes before the pong. If it has closed already, this fails, and the
    // close frame is still there to be read.
    socket.send(Message::Ping("open?".into())).await.ok();
    loop {
        match socket.next().await {
            Some(Ok(Message::Close(Some(frame)))) => return Err(frame.code.into()),
            Some(Ok(Message::Pong(_))) => return Ok(socket),
            Some(Ok(_)) => {}
            other => panic!("neither open nor closed with a code: {other:?}"),
        }
    }
}

/// Opens a flood of sockets, each from the address that `address` gives it. Returns those that stay open; all others
/// were closed with 1013.
async fn flood(door: &Door, n: impl Fn(usize) -> usize) -> Vec<Raw> {
    let mut stay = Vec::new();
    let mut all = stream::iter((0..FLOOD).map(n))
        .map(async |n| state(open(door.server.address(), n).await).await)
        .buffered(64);
    while let Some(one) = all.next().await {
        match one {
            Err(code) => assert_eq!(code, 1013),
            Ok(socket) => stay.push(socket),
        }
    }
    stay
}

/// Opens an event stream of the hostile user from the address of the n-th client. Returns the head of the response.
async fn event_stream(door: &Door, n: usize) -> String {
    let mut stream = connect(door.server.address(), n).await;
    let request = format!(
        "GET /v1/notifications/stream HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n",
        token("hostile")
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    head(&mut stream).await
}

#[tokio::test]
async fn an_address_has_no_more_connections_than_it_may() {
    let limits =
        format!("[limits]\nconnections_per_user = 100000\nconnections_per_address = {ALLOWED}");
    let door = door_with(&limits).await;
    let healthy = Healthy::at(&door).await;
    let stay = flood(&door, |_| 0).await;
    assert_eq!(stay.len(), ALLOWED);
    let refused = event_stream(&door, 0).await;
    assert!(refused.starts_with("http/1.1 503") && refused.contains("retry-after: "), "{refused}");
    let other = event_stream(&door, PER_ADDRESS).await;
    assert!(other.starts_with("http/1.1 200"), "from another address: {other}");
    is_served(&door.user("another")).await;
    // Each that goes makes room for one.
    drop(stay);
    until_connected(&door, 0).await;
    assert_eq!(flood(&door, |_| 0).await.len(), ALLOWED);
    healthy.has_everything().await;
}

#[tokio::test]
async fn a_user_has_no_more_connections_than_they_may() {
    let door = door_with(&format!("[limits]\nconnections_per_user = {ALLOWED}")).await;
    let healthy = Healthy::at(&door).await;
    let stay = flood(&door, |n| n).await;
    assert_eq!(stay.len(), ALLOWED);
    let refused = event_stream(&door, 0).await;
    assert!(refused.starts_with("http/1.1 503") && refused.contains("retry-after: "), "{refused}");
    is_served(&door.user("another")).await;
    drop(stay);
    until_connected(&door, 0).await;
    assert_eq!(flood(&door, |n| n).await.len(), ALLOWED);
    healthy.has_everything().await;
}

#[tokio::test]
async fn an_address_has_no_more_http_connections_than_it_may() {
    let limits = format!("[limits]\nhttp_connections_per_address = {ALLOWED}");
    let door = door_with(&limits).await;
    let healthy = Healthy::at(&door).await;
    let mut idle = Vec::new();
    for _ in 0..ALLOWED {
        idle.push(connect(door.server.address(), 0).await);
    }
    for _ in ALLOWED..FLOOD {
        let refused = head(&mut connect(door.server.address(), 0).await).await;
        assert!(refused.starts_with("http/1.1 429"), "{refused}");
        assert!(refused.contains("\r\nretry-after: "), "{refused}");
    }
    // Those that are there can be used.
    for stream in &mut idle {
        stream.write_all(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let answer = head(stream).await;
        assert!(answer.starts_with("http/1.1 200"), "{answer}");
    }
    is_served(&door.user("another")).await;
    healthy.has_everything().await;
}

#[tokio::test]
async fn idle_http_connections_give_way_to_newer_ones() {
    let door = door_with(&format!("[limits]\nhttp_connections = {ALLOWED}")).await;
    let healthy = Healthy::at(&door).await;
    let mut idle = Vec::new();
    for n in 0..FLOOD {
        let mut stream = connect(door.server.address(), n).await;
        stream.write_all(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let answer = head(&mut stream).await;
        assert!(answer.starts_with("http/1.1 200"), "{answer}");
        idle.push(stream);
    }
    let mut closed = 0;
    for stream in &mut idle[..FLOOD - ALLOWED] {
        // The body of the answer may still be there.
        closed += usize::from(stream.read_to_end(&mut Vec::new()).await.is_ok());
    }
    assert_eq!(closed, FLOOD - ALLOWED);
    is_served(&door.user("another")).await;
    healthy.has_everything().await;
}
