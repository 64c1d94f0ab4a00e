//! Connections that are opened and closed, again and again.

use super::{Healthy, assert_grown_less, door, open_all, until_connected};

/// How many are open at once.
const AT_ONCE: usize = 1000;
/// How many rounds there are: ten thousand connections. `load -- churn` opens a hundred thousand.
const ROUNDS: usize = 10;

#[tokio::test]
async fn connections_that_come_and_go_leave_no_memory_behind() {
    let door = door().await;
    let healthy = Healthy::at(&door).await;
    // The first rounds also pay for what stays: stacks, tables and the allocator's own memory.
    for round in 0..2 {
        drop(open_all(door.server.address(), AT_ONCE).await);
        until_connected(&door, 0).await;
        println!("round {round}: {} MiB", door.server.resident());
    }
    let before = door.server.resident();
    for _ in 0..ROUNDS {
        drop(open_all(door.server.address(), AT_ONCE).await);
        until_connected(&door, 0).await;
    }
    // 2 KiB for each connection would be 20 MiB.
    assert_grown_less(&door, before, 16);
    healthy.has_everything().await;
}
