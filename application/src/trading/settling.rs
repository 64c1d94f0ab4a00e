use std::sync::Arc;
use std::time::Duration;

use doorstep_domain::ports::{Fence, HeldLease, StoreError};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::TaskTracker;

use super::maker::LEASE;
use super::trigger_index::Crossed;
use super::watcher::Watcher;
use crate::StopSignal;

/// A position that a price has crossed.
pub(super) struct ToSettle {
    pub(super) crossed: Crossed,
    /// In a cluster, the number of the lease under which that price was made. Under a later one it is an old price.
    pub(super) fence: Option<Fence>,
}

/// How many transactions run concurrently.
const AT_ONCE: usize = 4;
/// How many positions are closed in one transaction. One at a time, the positions of a busy market would be closed more
/// slowly than prices cross them.
const TOGETHER: usize = 64;
/// The pause before closings are repeated while the store is unavailable.
const RETRY: Duration = Duration::from_millis(500);

impl Watcher {
    /// Settles what is handed over, until the stop and all of it is settled, or the rest is to be left.
    pub(super) async fn settle_all(
        self: Arc<Self>,
        mut to_settle: mpsc::UnboundedReceiver<ToSettle>,
        stop: StopSignal,
    ) {
        let (tasks, places) = (TaskTracker::new(), Arc::new(Semaphore::new(AT_ONCE)));
        // A place first: what gathers until there is one is settled together.
        while let Ok(place) = places.clone().acquire_owned().await {
            let mut some = Vec::new();
            tokio::select! {
                biased;
                () = self.enough.given() => break,
                count = to_settle.recv_many(&mut some, TOGETHER) => {
                    if count == 0 {
                        break;
                    }
                }
                () = stop.given(), if !to_settle.is_closed() => {
                    // Positions crossed before the stop are settled at the price that crossed them.
                    to_settle.close();
                    continue;
                }
            }
            let (this, stop) = (self.clone(), stop.clone());
            tasks.spawn(async move {
                settle(&this, some, &stop).await;
                drop(place);
            });
        }
        if self.enough.is_given() {
            let left = to_settle.len();
            tracing::warn!(
                left,
                "positions that the price had crossed stay open; whoever makes prices next closes them"
            );
        }
        tasks.close();
        tasks.wait().await;
    }

    /// In a cluster, the number of the lease that this node holds now.
    pub(super) fn fence(&self) -> Option<Fence> {
        self.shared.as_ref().and_then(|shared| shared.tenure.fence())
    }
}

/// Settles those that were crossed under the lease of now. What cannot be settled together is settled one by one: one that
/// the store cannot read is no reason to leave the others open.
async fn settle(watcher: &Watcher, some: Vec<ToSettle>, stop: &StopSignal) {
    let fence = watcher.fence();
    let under_it = some.into_iter().filter(|it| it.fence == fence);
    let crossed: Vec<_> = under_it.map(|it| it.crossed).collect();
    if crossed.is_empty() || close(watcher, &crossed, fence, stop).await.is_ok() {
        return;
    }
    for one in &crossed {
        if watcher.enough.is_given() {
            return;
        }
        if let Err(error) = close(watcher, std::slice::from_ref(one), fence, stop).await {
            let id = one.position.id;
            tracing::error!(position = %id, %error, "could not close a position at the price that crossed it");
        }
    }
}

/// Closes these; retries until the store answers, the lease is lost, or `stop` is given.
async fn close(
    watcher: &Watcher,
    crossed: &[Crossed],
    fence: Option<Fence>,
    stop: &StopSignal,
) -> Result<(), StoreError> {
    let lease = fence.map(|fence| HeldLease { name: LEASE.into(), fence });
    while watcher.fence() == fence {
        match watcher.trading.settle_all(crossed, lease.clone()).await {
            Err(error @ StoreError::Unavailable(_)) => {
                let count = crossed.len();
                tracing::warn!(count, %error, "could not close positions; trying again");
                if stop.unless_given(tokio::time::sleep(RETRY)).await.is_none() {
                    break;
                }
            }
            // Closed here, or by their users a moment before; or they cannot be.
            done => return done,
        }
    }
    Ok(())
}
