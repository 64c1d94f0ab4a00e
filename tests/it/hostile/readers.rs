//! Clients that stop reading, all at once.

use serde_json::json;

use super::{Healthy, assert_grown_less, door, is_served, open_all, until_connected};

/// How many stop reading at once; in the full measure it is ten thousand.
const READERS: usize = 1500;
/// How many notifications each of them has not read, with 16 KiB each: 23 MiB for each hundred clients, if each had
/// copies of its own.
const UNREAD: usize = 150;

#[tokio::test]
async fn many_readers_that_stop_share_what_waits_for_them() {
    let door = door().await;
    let healthy = Healthy::at(&door).await;
    let sockets = open_all(door.server.address(), READERS).await;
    until_connected(&door, READERS).await;
    let before = door.server.resident();
    let text = "x".repeat(16 * 1024);
    for _ in 0..UNREAD {
        let body = json!({"user_id": "hostile", "kind": "large", "payload": {"text": text}});
        door.backend.publish(&body).await;
    }
    // Copies would have 3.5 GiB. Each socket has a write buffer, which is bounded.
    assert_grown_less(&door, before, 512);
    is_served(&door.user("another")).await;
    healthy.has_everything().await;
    drop(sockets);
}
