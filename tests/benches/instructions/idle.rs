//! The memory of an idle connection.

use super::door::Door;

/// So many that what a node takes by itself does not matter.
const CONNECTIONS: u64 = 5000;

pub(super) async fn bytes() -> u64 {
    let door = Door::without_callgrind().await;
    // What the first connections allocate once for all does not count.
    let mut open = vec![door.connect("first", "doorstep.v1").await];
    let before = door.resident();
    for n in 0..CONNECTIONS {
        open.push(door.connect(&format!("idle-{n:06}"), "doorstep.v1").await);
    }
    let bytes = (door.resident() - before) / CONNECTIONS;
    drop(open);
    bytes
}
