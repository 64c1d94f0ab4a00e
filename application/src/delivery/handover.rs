use std::time::Duration;

use doorstep_domain::ports::StoreError;
use doorstep_domain::{Notification, Outcome};

use super::Delivery;

/// How a store that panics is called in its error.
pub(super) const HANDOVER: &str = "handover store";
/// The largest write to the store.
pub(super) const BATCH: usize = 1000;
/// How often progress is logged.
const PROGRESS: usize = 10_000;
/// The pause after a write that failed.
const PAUSE: Duration = Duration::from_millis(200);

/// What became of what waited when the node stopped.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// Left in the store for the next node.
    pub handed_over: usize,
    /// Ended as `dropped`: there was no store to leave it in, or it did not take it in time.
    pub dropped: usize,
}

impl Delivery {
    /// Takes up what a stopped node left, with the TTL that is left. Call it once, before anybody can
    /// connect. Takes no more than this node has room for; the rest stays for others, and for users who arrive.
    ///
    /// What another node leaves later is claimed while this one runs: when its user arrives here or is here,
    /// and when its TTL has ended.
    pub async fn take_up(&self) -> Result<usize, StoreError> {
        let (Some(store), Some(claims)) = (&self.handover, &self.claims) else { return Ok(0) };
        let mut count = 0;
        loop {
            let limit = self.cx.capacity.room().min(BATCH);
            if limit == 0 {
                tracing::warn!(count, "this node is full; it takes up no more of what was left");
                claims.something_is_left();
                break;
            }
            let batch = self.cx.guarded(HANDOVER, store.take(limit)).await?;
            let got = batch.len();
            let all = claims.put_in(batch).await;
            count += got;
            if count > 0 && (got < limit || count.is_multiple_of(PROGRESS)) {
                tracing::info!(count, "taken up what an earlier node left");
            }
            if !all {
                tracing::warn!(count, "this node has no room for some of what was left");
            }
            if !all || got < limit {
                break;
            }
        }
        Ok(count)
    }

    /// Stops: accepts nothing more, lets pushes that are under way come to an end, and hands over what
    /// waits. Takes at most about `patience`, of which a store that fails gets all that is left.
    ///
    /// Stop the transports first, so that nobody arrives any more.
    pub async fn stop(&self, patience: Duration) -> Stopped {
        let deadline = tokio::time::Instant::now() + patience;
        self.cx.tasks.stop().cancel();
        if tokio::time::timeout(patience / 5, self.cx.tasks.ended()).await.is_err() {
            tracing::warn!(
                "some pushes did not come to an end in time; what they push is handed over"
            );
        }
        if let Some(claims) = &self.claims {
            claims.close();
        }
        if let Ok(Err(error)) = tokio::time::timeout(patience / 5, self.wake.clear_trays()).await {
            tracing::warn!(%error, "the inbox does not answer; what it should have is handed over");
        }
        let mut stopped = Stopped::default();
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
        self.cx.endings.receipts.close();
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
            waiting.retain(|n| !keeps(n.id));
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
                let end = |n| self.cx.endings.end(n, Outcome::Dropped);
                let ended = batch.iter().map(end).collect();
                let told = tokio::time::timeout_at(deadline, self.cx.tell(ended)).await;
                if told.is_err() {
                    tracing::warn!("who hears of outcomes did not take them before the stop");
                }
            }
        }
    }

    /// Writes a batch, trying again until the deadline.
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
