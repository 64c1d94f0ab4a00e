//! Clients that stop reading, all at once.

use super::{
    Healthy, assert_grown_less, door, is_served, open_all, publish_large, until_connected,
};

/// How many stop reading at once.
const READERS: usize = 2000;
/// How many notifications each of them has not read, with 16 KiB each. The system takes the first few; the rest would be
/// three gigabytes for all, if each had copies of its own.
const UNREAD: usize = 100;

#[tokio::test]
async fn many_readers_that_stop_share_what_waits_for_them() {
    let door = door().await;
    let healthy = Healthy::at(&door).await;
    let sockets = open_all(door.server.address(), READERS).await;
    until_connected(&door, READERS).await;
    let before = door.server.resident();
    publish_large(&door, UNREAD).await;
    // Each connection has a write buffer, which is bounded.
    assert_grown_less(&door, before, 96);
    is_served(&door.user("another")).await;
    healthy.has_everything().await;
    drop(sockets);
}
