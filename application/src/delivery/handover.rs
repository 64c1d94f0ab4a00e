use std::time::Duration;

use doorstep_domain::ports::StoreError;
use doorstep_domain::{Notification, Outcome};

use super::Delivery;

/// The store's name in errors and logs.
pub(super) const HANDOVER: &str = "handover store";
/// The largest write to the store.
pub(super) const BATCH: usize = 1000;
/// How often progress is logged.
const PROGRESS: usize = 10_000;
/// The pause after a write that failed.
const PAUSE: Duration = Duration::from_millis(200);

/// What became of the notifications that waited when the node stopped.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// Left in the store for the next node.
    pub handed_over: usize,
    /// Ended as `dropped`: there was no store, or it did not take them in time.
    pub dropped: usize,
}

impl Delivery {
    /// Takes up what a stopped node left, with the remaining TTL. Call it once, before anybody can connect. Takes
    /// no more than this node has room for; the rest stays for other nodes, and for users who arrive.
    ///
    /// While this node runs, it also claims what other nodes leave: for a user who arrives or is here, and when a
    /// TTL has ended.
    pub async fn take_up(&self) -> Result<usize, StoreError> {
        if let (Some(store), Some(cluster)) = (&self.handover, &self.cluster) {
            return cluster.take_up(&**store).await;
        }
        let (Some(store), Some(claimer)) = (&self.handover, &self.claimer) else { return Ok(0) };
        let mut count = 0;
        loop {
            let limit = self.cx.capacity.free().min(BATCH);
            if limit == 0 {
                tracing::warn!(count, "this node is full; the rest stays in the handover store");
                claimer.something_is_left();
                break;
            }
            let batch = self.cx.guarded(HANDOVER, store.take(limit)).await?;
            let got = batch.len();
            let all = claimer.put_in(batch).await;
            count += got;
            if count > 0 && (got < limit || count.is_multiple_of(PROGRESS)) {
                tracing::info!(count, "took up what an earlier node left");
            }
            if !all {
                tracing::warn!(
                    count,
                    "this node has no room for some of it; the rest stays in the handover store"
                );
            }
            if !all || got < limit {
                break;
            }
        }
        Ok(count)
    }

    /// Stops: accepts nothing more, lets current pushes finish, and hands over what waits. Takes about `patience`
    /// at most; a store that fails is retried until then.
    ///
    /// Stop the transports first, so that nobody arrives during the stop.
    pub async fn stop(&self, patience: Duration) -> Stopped {
        let deadline = tokio::time::Instant::now() + patience;
        self.cx.tasks.stop().cancel();
        if let Some(cluster) = &self.cluster {
            cluster.leave_to_others();
        }
        if tokio::time::timeout(patience / 5, self.cx.tasks.ended()).await.is_err() {
            tracing::warn!(
                "some pushes or observers did not finish in time; what is in flight is handed over"
            );
        }
        if let Some(claimer) = &self.claimer {
            claimer.close();
        }
        if let Ok(Err(error)) =
            tokio::time::timeout(patience / 5, self.wake.drain_inbox_queues()).await
        {
            tracing::warn!(%error, "the inbox failed; what it did not take is handed over");
        }
        let mut stopped = Stopped::default();
        if let Some(cluster) = &self.cluster {
            // What waits is in the log, and the other nodes have it; but not what the log has lost.
            let orphans = cluster.orphans();
            self.forget_all();
            self.leave(orphans, deadline, &mut stopped).await;
            return self.stopped(stopped, deadline).await;
        }
        let total = self.held().waiting + self.held().in_flight;
        if total > 0 {
            tracing::info!(total, "handing over what waits");
        }
        let loose = [self.wake.unpromoted(), self.poll.drain()].concat();
        self.leave(loose, deadline, &mut stopped).await;
        for shard in 0..self.wake.rooms.shards() {
            loop {
                let some = self.wake.rooms.in_shard(shard, |room| room.drain(BATCH));
                if some.is_empty() {
                    break;
                }
                self.leave(some, deadline, &mut stopped).await;
            }
        }
        self.stopped(stopped, deadline).await
    }

    fn forget_all(&self) {
        drop(self.wake.unpromoted());
        for shard in 0..self.wake.rooms.shards() {
            self.wake.rooms.in_shard(shard, |room| while !room.drain(BATCH).is_empty() {});
        }
    }

    async fn stopped(&self, stopped: Stopped, deadline: tokio::time::Instant) -> Stopped {
        self.cx.endings.receipts.close();
        if self.cx.endings.is_behind()
            && tokio::time::timeout_at(deadline, self.cx.tasks.ended()).await.is_err()
        {
            tracing::warn!("an observer did not take all outcomes before the stop");
        }
        if stopped.dropped > 0 {
            tracing::error!(
                dropped = stopped.dropped,
                "notifications were lost: the store did not take them before the stop"
            );
        }
        stopped
    }

    async fn leave(
        &self,
        mut waiting: Vec<Notification>,
        deadline: tokio::time::Instant,
        stopped: &mut Stopped,
    ) {
        if let Some(keeps) = self.kept_elsewhere.get() {
            waiting.retain(|n| {
                // A panic loses nothing: the notification is handed over.
                let kept = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| keeps(n.id)));
                !kept.unwrap_or_else(|_| {
                    self.cx.tasks.panicked("store that keeps notifications");
                    false
                })
            });
        }
        for batch in waiting.chunks(BATCH) {
            if self.leave_batch(batch, deadline).await {
                let before = stopped.handed_over / PROGRESS;
                stopped.handed_over += batch.len();
                if stopped.handed_over / PROGRESS > before {
                    tracing::info!(count = stopped.handed_over, "handed over so far");
                }
            } else {
                stopped.dropped += batch.len();
                let end = |n| self.cx.endings.end_here(n, Outcome::Dropped);
                self.cx.tell(batch.iter().map(end).collect());
            }
        }
    }

    /// Writes a batch; retries until the deadline.
    async fn leave_batch(&self, batch: &[Notification], deadline: tokio::time::Instant) -> bool {
        let Some(store) = self.handover.clone() else { return false };
        let batch = &self.cx.all_shown(batch);
        while let Some(left) = time_until(deadline) {
            match tokio::time::timeout(left, self.cx.guarded(HANDOVER, store.leave(batch))).await {
                Ok(Ok(())) => return true,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "could not hand over; trying again");
                    tokio::time::sleep(PAUSE).await;
                }
                Err(_) => return false,
            }
        }
        false
    }
}

fn time_until(deadline: tokio::time::Instant) -> Option<Duration> {
    deadline.checked_duration_since(tokio::time::Instant::now()).filter(|left| !left.is_zero())
}
