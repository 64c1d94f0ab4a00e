use std::time::Duration;

use super::{DisconnectReason, Pace};

/// Decides that a connection is too slow (close code 4408): waits until its socket has taken no byte for `limit`
/// although there is something to write, and returns the reason to close it with. Every transport uses this.
pub(crate) async fn too_slow(pace: &Pace, limit: Duration) -> DisconnectReason {
    loop {
        let left = limit.saturating_sub(pace.blocked_for());
        if left.is_zero() {
            return DisconnectReason::TooSlow;
        }
        tokio::time::sleep(left).await;
    }
}
