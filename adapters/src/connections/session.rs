use std::time::Duration;

use doorstep_domain::Timestamp;
use doorstep_domain::ports::Clock;

/// A session ends by the time of day, which a correction of the machine's clock may move: this often it is compared.
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
