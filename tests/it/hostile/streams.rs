//! Event streams that nobody reads.

use futures_util::{StreamExt as _, stream};
use tokio::io::AsyncWriteExt as _;

use super::{
    Healthy, assert_grown_less, connect, door, head, is_served, publish_large, until_connected,
};
use crate::backends::token;

/// How many stop reading at once.
const READERS: usize = 100;
/// How many notifications each of them has not read, with 16 KiB each. The system's buffer of a local socket takes the
/// first 160 or so; the rest would be 300 MiB for all, if each had copies of its own.
const UNREAD: usize = 350;

#[tokio::test]
async fn event_streams_that_stop_reading_are_bounded_and_closed() {
    let door = door().await;
    let healthy = Healthy::at(&door).await;
    let request = format!(
        "GET /v1/notifications/stream HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n",
        token("hostile")
    );
    let streams: Vec<_> = stream::iter(0..READERS)
        .map(async |n| {
            let mut stream = connect(door.server.address(), n).await;
            stream.write_all(request.as_bytes()).await.unwrap();
            let head = head(&mut stream).await;
            assert!(head.starts_with("http/1.1 200"), "{head}");
            stream
        })
        .buffered(64)
        .collect()
        .await;
    until_connected(&door, READERS).await;
    let before = door.server.resident();
    publish_large(&door, UNREAD).await;
    assert_grown_less(&door, before, 96);
    is_served(&door.user("another")).await;
    // They are too slow, and go. Which of the server's limits ends them depends on how fast the system's buffers fill.
    until_connected(&door, 0).await;
    healthy.has_everything().await;
    drop(streams);
}
