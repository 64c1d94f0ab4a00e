//! Periodic work.

use std::time::Duration;

use doorstep_application::rewards::Rewards;
use doorstep_application::sign_ins::SignIns;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often expired sessions are removed. They are refused whether they were removed or not.
const SESSIONS_EVERY: Duration = Duration::from_hours(1);
/// How often missing rewards are looked for: a node may have died before it granted them, or the store may have failed
/// at the time of the event.
const REWARDS_EVERY: Duration = Duration::from_mins(1);

/// Removes expired sessions from the store, until `stopping`.
pub(crate) async fn forget_dead_sessions(sign_ins: SignIns, stopping: CancellationToken) {
    let mut hourly = every(SESSIONS_EVERY);
    while next(&mut hourly, &stopping).await {
        match sign_ins.purge().await {
            Ok(0) => {}
            Ok(sessions) => tracing::info!(sessions, "removed expired sessions"),
            Err(error) => tracing::warn!(%error, "expired sessions were not removed"),
        }
    }
}

/// Grants rewards that were earned and not granted, until `stopping`.
pub(crate) async fn reconcile_rewards(rewards: Rewards, stopping: CancellationToken) {
    let mut each_minute = every(REWARDS_EVERY);
    while next(&mut each_minute, &stopping).await {
        match rewards.reconcile().await {
            Ok(0) => {}
            Ok(gifts) => tracing::info!(gifts, "granted missing rewards"),
            Err(error) => tracing::warn!(%error, "missing rewards were not looked for"),
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Waits for the next turn. Returns false if the node stops first.
async fn next(interval: &mut Interval, stopping: &CancellationToken) -> bool {
    tokio::select! {
        biased;
        () = stopping.cancelled() => false,
        _ = interval.tick() => true,
    }
}
