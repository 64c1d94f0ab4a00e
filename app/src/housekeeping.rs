//! Periodic work.

use std::sync::Arc;
use std::time::Duration;

use doorstep_application::inbox::ReadItems;
use doorstep_application::rewards::Rewards;
use doorstep_application::sign_ins::SignIns;
use doorstep_domain::ports::StoreError;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

/// How often expired sessions are removed. They are refused whether they were removed or not.
const SESSIONS_EVERY: Duration = Duration::from_hours(1);
/// How often missing rewards are looked for: a node may have died before it granted them, or the store may have failed
/// at the time of the event.
const REWARDS_EVERY: Duration = Duration::from_mins(1);
/// How often it is looked for items that were read long ago.
const READ_ITEMS_EVERY: Duration = Duration::from_hours(1);

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

/// Removes inbox items that were read long ago, until `stopping`.
pub(crate) async fn forget_read_items(items: Arc<ReadItems>, stopping: CancellationToken) {
    let mut hourly = every(READ_ITEMS_EVERY);
    while next(&mut hourly, &stopping).await {
        let before = items.removed();
        let failed = remove_all(&items, &stopping).await.err();
        let removed = items.removed() - before;
        if removed > 0 {
            tracing::info!(removed, "removed read items from the inbox");
        }
        if let Some(error) = failed {
            tracing::warn!(%error, "read items were not removed from the inbox");
        }
    }
}

/// Removes step by step. The pause after each is as long as the step, so at least half of the time is left to other
/// writes, however slow the store is.
async fn remove_all(items: &ReadItems, stopping: &CancellationToken) -> Result<(), StoreError> {
    loop {
        let began = Instant::now();
        if items.remove_some().await? < ReadItems::STEP {
            return Ok(());
        }
        tokio::select! {
            () = stopping.cancelled() => return Ok(()),
            () = sleep(began.elapsed()) => {}
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
