use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use doorstep_domain::{Outcome, Timestamp};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::Wake;
use crate::delivery::mailbox::Due;

/// This many due entries are handled under one hold of a shard's lock.
const DUE_AT_ONCE: usize = 256;

impl Wake {
    /// Handles entries when they become due, until the node stops. The only task that wakes by time.
    pub(super) async fn keep_time(self: &Arc<Self>) {
        let stop = self.cx.tasks.stop().clone();
        loop {
            self.alarm.unset();
            let due = self.rooms.next_due().unwrap_or(Timestamp::MAX);
            self.alarm.set(due);
            let until_due = async {
                if due == Timestamp::MAX {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(due.since(self.cx.clock.now())).await;
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.alarm.rung() => {}
                () = until_due => self.end_what_is_due().await,
            }
        }
    }

    pub(in crate::delivery) async fn end_what_is_due(self: &Arc<Self>) {
        let now = self.cx.clock.now();
        let mut crowded = Vec::new();
        for shard in 0..self.rooms.shards() {
            if self.end_some_of(shard, now) {
                crowded.push(shard);
            }
        }
        if crowded.is_empty() {
            return;
        }
        // Only a burst makes this many due at once. Every core takes a share.
        let (crowded, taken) = (Arc::new(crowded), Arc::new(AtomicUsize::new(0)));
        let mut cores = JoinSet::new();
        for _ in 0..Handle::current().metrics().num_workers() {
            let (this, crowded, taken) = (self.clone(), crowded.clone(), taken.clone());
            cores.spawn(async move {
                while let Some(&shard) = crowded.get(taken.fetch_add(1, Relaxed)) {
                    while this.end_some_of(shard, now) {
                        tokio::task::yield_now().await;
                    }
                }
            });
        }
        while cores.join_next().await.is_some() {}
    }

    /// Handles some of the due entries of a shard. Returns true if there may be more.
    fn end_some_of(self: &Arc<Self>, shard: usize, now: Timestamp) -> bool {
        let mut due = Due::default();
        let more = self.rooms.in_shard(shard, |room| {
            let more = room.due(now, DUE_AT_ONCE, &mut due);
            let expired = std::mem::take(&mut due.expired).into_iter();
            due.expired = expired.filter_map(|n| self.promote(n)).collect();
            more
        });
        let end = |n| self.cx.endings.end(n, Outcome::Expired);
        let ended = due.expired.iter().filter_map(end).collect();
        due.flush.dedup();
        for user in due.flush {
            self.flush_later(&user);
        }
        self.cx.tell(ended);
        more
    }
}
