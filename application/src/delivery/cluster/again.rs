//! The log is not what it was, and is read again: it was lost, or restored from a backup, or this node was away too long.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use doorstep_domain::Notification;
use futures_util::StreamExt as _;

use super::{Cluster, Standing};
use crate::delivery::Refused;
use crate::delivery::endings::Ending;
use crate::delivery::mailbox::Mailroom;

/// How many users' notifications are appended again at once.
const AT_ONCE: usize = 256;
/// How long an acknowledgement that this node keeps waits for the node that accepted the notification to append it again.
const LEFTOVERS: Duration = Duration::from_mins(1);

impl Cluster {
    /// Forgets what was read. What was proposed here is proposed again for what turns out to be still open.
    ///
    /// `lost`: the log may have lost what this node accepted; if so, that is appended again.
    pub(super) fn forget(self: &Arc<Self>, lost: bool) {
        self.generation.fetch_add(1, Relaxed);
        self.has_read.store(false, Relaxed);
        self.standing.send_replace(Standing::CatchingUp);
        let mine = self.decisions.proposals.lock().read_again();
        // A user's stay in their order.
        let shards = 0..self.wake.rooms.shards();
        let forgotten =
            shards.flat_map(|shard| self.wake.rooms.in_shard(shard, Mailroom::forget_shared));
        let kept =
            forgotten.filter(|n| lost && mine.binary_search(&n.id).is_ok()).collect::<Vec<_>>();
        self.orphans.lock().lost(kept);
    }

    pub(super) fn catch_up_later(self: &Arc<Self>) {
        let (this, generation) = (self.clone(), self.generation.load(Relaxed));
        self.cx.tasks.spawn(async move { this.catch_up(generation).await });
    }

    /// Says that this node is up to date once a barrier has come by, and appends again what the log has lost.
    async fn catch_up(self: &Arc<Self>, generation: u64) {
        let current = || self.generation.load(Relaxed) == generation;
        let begun = self.cx.clock.now();
        while self.barrier().await.is_err() {
            if self.cx.tasks.stop().is_cancelled() || !current() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        if !current() {
            return;
        }
        self.settle_leftovers(false);
        let took = u64::try_from(self.cx.clock.now().since(begun).as_micros()).unwrap_or(u64::MAX);
        self.counts.caught_up_in.store(took.max(1), Relaxed);
        self.has_read.store(true, Relaxed);
        self.standing.send_replace(Standing::UpToDate);
        self.adopt(generation).await;
        tokio::select! {
            biased;
            () = self.cx.tasks.stop().cancelled() => {}
            () = tokio::time::sleep(LEFTOVERS) => if current() {
                self.settle_leftovers(true);
            },
        }
    }

    /// Tells the ends that this node had proposed for what it had accepted, and the log has lost: nobody else can.
    fn settle_leftovers(&self, all: bool) {
        let leftovers = self.decisions.proposals.lock().read(all);
        for left in leftovers.into_iter().filter(|left| left.mine) {
            let ending = Ending {
                id: left.id,
                user_id: left.user,
                kind: left.kind,
                created_at: left.created_at,
                trace: left.trace,
            };
            let told = self.cx.endings.decided(ending, left.outcome, true);
            self.cx.tell(vec![told]);
        }
    }

    /// Appends again what this node had accepted and the log has lost. One whose TTL has ended meanwhile ends by the log,
    /// as it would have. If this is interrupted, the rest is still known: a stop hands it over, and the log that is read
    /// once more is searched for it.
    async fn adopt(&self, generation: u64) {
        let orphans = self.orphans.lock().by_user();
        let count: usize = orphans.values().map(Vec::len).sum();
        if count > 0 {
            tracing::warn!(count, "the log has lost what this node accepted; appending it again");
        }
        let adopt_all = |theirs: Vec<Notification>| async move {
            for n in theirs {
                while let Err(refused) = self.put_into_log(&n, false).await {
                    if matches!(refused, Refused::TooLarge) {
                        // This log will never take it.
                        self.orphans.lock().found(n.id);
                        self.cx.reject(&n);
                        break;
                    }
                    let stopped = self.cx.tasks.stop().is_cancelled();
                    if stopped || self.generation.load(Relaxed) != generation {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        };
        futures_util::stream::iter(orphans.into_values())
            .for_each_concurrent(AT_ONCE, adopt_all)
            .await;
    }
}
