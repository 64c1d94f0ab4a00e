//! What has to be done now and then.

use std::time::Duration;

use doorstep_application::sign_ins::SignIns;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often dead sessions are removed; a session that has expired is refused whether it was removed or not.
const SESSIONS_EVERY: Duration = Duration::from_hours(1);

/// Removes expired sessions from the store, until `stopping`.
pub(crate) async fn forget_dead_sessions(sign_ins: SignIns, stopping: CancellationToken) {
    let mut hourly = interval(SESSIONS_EVERY);
    hourly.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = hourly.tick() => {}
            () = stopping.cancelled() => return,
        }
        match sign_ins.purge().await {
            Ok(0) => {}
            Ok(sessions) => tracing::info!(sessions, "forgot expired sessions"),
            Err(error) => tracing::warn!(%error, "expired sessions were not removed"),
        }
    }
}
