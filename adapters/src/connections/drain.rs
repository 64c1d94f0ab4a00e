use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Connection, Connections, DisconnectReason};

/// Closing this many per second is no stampede of reconnections: fewer connections take less time.
const PER_SECOND: u32 = 1000;
/// The time between two rounds.
const ROUND: Duration = Duration::from_millis(20);

impl Connections {
    /// Refuses new connections, and closes those that are there with 1012 (service restart), spread evenly over at most
    /// this time, so that their clients do not all reconnect at once; at least a thousand are closed per second.
    /// Connections that are still open are pushed to as before. Returns earlier when all have gone.
    pub async fn drain(&self, at_most: Duration) {
        let open = self.refuse_new();
        let (begun, all) = (Instant::now(), open.len());
        let over = spread_over(all, at_most);
        let mut open = open.into_iter();
        // From the clock and not from the number of rounds, so that late rounds catch up.
        while begun.elapsed() < over && self.count() > 0 {
            let due = share(all, begun.elapsed(), over);
            let closed = all - open.len();
            close(open.by_ref().take(due.saturating_sub(closed)));
            sleep(ROUND.min(over.saturating_sub(begun.elapsed()))).await;
        }
        close(open);
    }
}

/// The time over which the closing of this many connections is spread.
fn spread_over(all: usize, at_most: Duration) -> Duration {
    let all = u32::try_from(all).unwrap_or(u32::MAX);
    at_most.min(Duration::from_secs(1) * all / PER_SECOND)
}

fn close(connections: impl Iterator<Item = Arc<Connection>>) {
    for connection in connections {
        connection.close(DisconnectReason::Restart);
    }
}

/// How many of `all` are due after this time.
fn share(all: usize, elapsed: Duration, over: Duration) -> usize {
    let due = all as u128 * elapsed.as_nanos() / over.as_nanos().max(1);
    usize::try_from(due).unwrap_or(all).min(all)
}
