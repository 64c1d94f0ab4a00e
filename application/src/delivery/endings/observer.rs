//! One observer of outcomes, and the ends that it has not been told yet.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use doorstep_domain::ports::Outcomes;
use doorstep_domain::{Ended, Outcome};
use futures_util::FutureExt;

use crate::delivery::capacity::Capacity;
use crate::delivery::sync::Mutex;
use crate::delivery::tasks::Tasks;

/// An observer that is behind is told of refusals only while fewer ends than these wait for it. A flood of refusals
/// must not take the place of an end of what was accepted.
const REFUSALS: usize = 1024;

/// Tells one observer. It is told at once, on the caller's stack; if it has to wait, a task goes on, and later ends
/// queue up for that task. **No caller waits for an observer.**
///
/// Every end in the queue keeps a place of the node (see [`Capacity`]), so a node whose observers are far behind
/// accepts nothing more, and no end of what it accepted in memory is lost. What needs no place is bounded by the length
/// of the queue, and lost beyond it: refusals, and ends of inbox items that their users read.
pub(super) struct Observer {
    outcomes: Arc<dyn Outcomes>,
    tasks: Arc<Tasks>,
    capacity: Arc<Capacity>,
    behind: Mutex<Behind>,
}

#[derive(Default)]
struct Behind {
    /// The tasks that tell it now; later ends queue up while there is one.
    tellers: usize,
    ends: Vec<Ended>,
    lost: u64,
}

impl Observer {
    pub(super) fn new(
        outcomes: Arc<dyn Outcomes>,
        tasks: Arc<Tasks>,
        capacity: Arc<Capacity>,
    ) -> Arc<Self> {
        Arc::new(Self { outcomes, tasks, capacity, behind: Mutex::default() })
    }

    pub(super) fn tell(self: &Arc<Self>, ended: Vec<Ended>) {
        let Some(ended) = self.unless_behind(ended) else { return };
        let (count, this) = (ended.len(), self.clone());
        let mut telling: Pin<Box<dyn Future<Output = ()> + Send>> =
            Box::pin(async move { this.tell_now(ended).await });
        if self.tasks.is_done_at_once(&mut telling) {
            return;
        }
        self.behind.lock().tellers += 1;
        self.capacity.force(count, 0);
        let this = self.clone();
        self.tasks.spawn(async move {
            telling.await;
            this.capacity.release(count, 0);
            this.catch_up().await;
        });
    }

    /// Whether there are ends that it has not been told yet.
    pub(super) fn is_behind(&self) -> bool {
        self.behind.lock().tellers > 0
    }

    /// Queues the ends if the observer is behind; otherwise returns them.
    fn unless_behind(&self, ended: Vec<Ended>) -> Option<Vec<Ended>> {
        let mut behind = self.behind.lock();
        if behind.tellers == 0 {
            return Some(ended);
        }
        let (before, lost) = (behind.ends.len(), behind.lost);
        for end in ended {
            let is_refusal = end.outcome == Outcome::Rejected;
            let accepted = if is_refusal { 0 } else { self.capacity.max_pending() };
            if behind.ends.len() < accepted.saturating_add(REFUSALS) {
                behind.ends.push(end);
            } else {
                behind.lost += 1;
            }
        }
        self.capacity.force(behind.ends.len() - before, 0);
        let now = behind.lost;
        drop(behind);
        // Logs the first loss, and then every thousandth.
        if lost < now && (lost == 0 || lost / 1000 < now / 1000) {
            tracing::warn!(
                lost = now,
                "an observer of outcomes is too slow; it is not told of these"
            );
        }
        None
    }

    /// Empties the queue.
    async fn catch_up(&self) {
        loop {
            let ended = {
                let mut behind = self.behind.lock();
                if behind.ends.is_empty() {
                    behind.tellers -= 1;
                    return;
                }
                std::mem::take(&mut behind.ends)
            };
            let count = ended.len();
            self.tell_now(ended).await;
            self.capacity.release(count, 0);
        }
    }

    /// An observer that panics counts as told.
    async fn tell_now(&self, ended: Vec<Ended>) {
        let telling = AssertUnwindSafe(async { self.outcomes.ended(ended).await });
        if telling.catch_unwind().await.is_err() {
            self.tasks.panicked("observer of outcomes");
        }
    }
}
