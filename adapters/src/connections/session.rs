use std::time::Duration;

use doorstep_domain::Timestamp;
use doorstep_domain::ports::Clock;

/// A timer may not reach further, and the two clocks may drift apart over days.
const STRIDE: Duration = Duration::from_hours(1);

/// Waits until the session has expired.
pub(crate) async fn session_over(clock: &dyn Clock, expires_at: Timestamp) {
    loop {
        let left = expires_at.since(clock.now());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(STRIDE)).await;
    }
}
