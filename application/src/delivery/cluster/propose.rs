use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use doorstep_domain::{Append, Appended, NotificationId, Timestamp};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::Cluster;
use super::proposals::Todo;

/// How many proposals are appended at once.
const AT_ONCE: usize = 1024;

impl Cluster {
    /// Appends, and counts what became of it.
    pub(super) async fn append(&self, append: Append) -> Appended {
        let answer = self.log.append(append).await;
        let count = match &answer {
            Appended::Won(_) => &self.counts.won,
            Appended::Lost => &self.counts.lost,
            Appended::Unknown => &self.counts.unknown,
            Appended::Refused(_) => &self.counts.refused,
        };
        count.fetch_add(1, Relaxed);
        answer
    }

    /// Appends the ends that this node proposes when they are due, until the node stops.
    pub(super) async fn keep_proposing(self: &Arc<Self>) {
        let stop = self.cx.tasks.stop().clone();
        let mut under_way = FuturesUnordered::new();
        loop {
            let room = AT_ONCE - under_way.len();
            under_way
                .extend(self.take_due(room).into_iter().map(|(id, append)| self.one(id, append)));
            let next = self.decisions.proposals.lock().next_due();
            let due = async {
                match next {
                    Some(due) => tokio::time::sleep(due.since(self.cx.clock.now())).await,
                    None => std::future::pending().await,
                }
            };
            let full = under_way.len() >= AT_ONCE;
            tokio::select! {
                biased;
                // A stop waits for what is proposed, as long as it has patience: see `stop`.
                () = stop.cancelled(), if under_way.is_empty() && next.is_none() => return,
                Some(()) = under_way.next() => {}
                () = self.decisions.bell.notified(), if !full => {}
                () = due, if !full => {}
            }
        }
    }

    /// Takes what is due to be appended. What is to be rescued goes its way.
    fn take_due(&self, limit: usize) -> Vec<(NotificationId, Append)> {
        let now = self.cx.clock.now();
        let shown = |n: &_| self.cx.shown(n).into_owned();
        let time_of_day = |at: Timestamp| self.cx.clock.wall_of(at);
        let todo = self.decisions.proposals.lock().take_due(now, limit, shown, time_of_day);
        let mut appends = Vec::with_capacity(todo.len());
        for one in todo {
            match one {
                Todo::Append(id, append) => appends.push((id, append)),
                Todo::Rescue(n) => self.wake.write_promotion(n),
            }
        }
        appends
    }

    async fn one(&self, id: NotificationId, append: Append) {
        let answer = self.append(append).await;
        if let Appended::Refused(why) = &answer {
            tracing::debug!(notification = %id, %why, "an end was not appended; trying again");
        }
        self.decisions.proposals.lock().answered(id, &answer, self.cx.clock.now());
    }

    /// Waits until every end that this node has proposed has been read back.
    pub(super) async fn all_decided(&self) {
        while self.decisions.proposals.lock().count().1 > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}
