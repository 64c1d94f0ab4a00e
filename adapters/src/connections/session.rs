use std::time::Duration;

use doorstep_domain::Timestamp;
use doorstep_domain::ports::Clock;

/// Sessions expire by the wall clock, which may be corrected while a connection waits: the time left is checked
/// again this often.
const STRIDE: Duration = Duration::from_mins(1);

/// Waits until the session has expired.
pub(crate) async fn session_over(clock: &dyn Clock, expires_at: Timestamp) {
    loop {
        let left = expires_at.since(clock.wall());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(STRIDE)).await;
    }
}
