//! One observer of outcomes, and the ends that it has not been told yet.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use doorstep_domain::ports::Outcomes;
use doorstep_domain::{Ended, Outcome};
use futures_util::FutureExt;

use crate::delivery::context::Context;
use crate::delivery::sync::Mutex;

/// An observer that is behind is told of refusals only while fewer ends than these wait for it. A flood of refusals
/// must not take the place of an end of what was accepted.
const REFUSALS: usize = 1024;

/// Tells one observer. It is told at once, on the caller's stack; if it has to wait, a task goes on, and later ends
/// queue up for that task. **No caller waits for an observer.**
///
/// The queue is bounded: every end in it keeps a place of the node (see `Capacity`), so a node whose observers are far
/// behind accepts nothing more.
pub(super) struct Observer {
    outcomes: Arc<dyn Outcomes>,
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
    pub(super) fn new(outcomes: Arc<dyn Outcomes>) -> Arc<Self> {
        Arc::new(Self { outcomes, behind: Mutex::default() })
    }

    pub(super) fn tell(self: &Arc<Self>, ended: Vec<Ended>, cx: &Arc<Context>) {
        let Some(ended) = self.unless_behind(ended, cx) else { return };
        let count = ended.len();
        let (this, context) = (self.clone(), cx.clone());
        let mut telling: Pin<Box<dyn Future<Output = ()> + Send>> =
            Box::pin(async move { this.tell_now(ended, &context).await });
        if cx.tasks.is_done_at_once(&mut telling) {
            return;
        }
        self.behind.lock().tellers += 1;
        cx.capacity.force(count, 0);
        let (this, context) = (self.clone(), cx.clone());
        cx.tasks.spawn(async move {
            telling.await;
            context.capacity.release(count, 0);
            this.catch_up(&context).await;
        });
    }

    /// Whether there are ends that it has not been told yet.
    pub(super) fn is_behind(&self) -> bool {
        self.behind.lock().tellers > 0
    }

    /// Queues the ends if the observer is behind; otherwise returns them.
    fn unless_behind(&self, ended: Vec<Ended>, cx: &Context) -> Option<Vec<Ended>> {
        let mut behind = self.behind.lock();
        if behind.tellers == 0 {
            return Some(ended);
        }
        let (before, lost) = (behind.ends.len(), behind.lost);
        for end in ended {
            let accepted = if end.outcome == Outcome::Rejected { 0 } else { cx.limits.max_pending };
            if behind.ends.len() < accepted.saturating_add(REFUSALS) {
                behind.ends.push(end);
            } else {
                behind.lost += 1;
            }
        }
        cx.capacity.force(behind.ends.len() - before, 0);
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

    /// Tells what has queued up, until nothing is left.
    async fn catch_up(&self, cx: &Context) {
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
            self.tell_now(ended, cx).await;
            cx.capacity.release(count, 0);
        }
    }

    /// An observer that panics counts as told.
    async fn tell_now(&self, ended: Vec<Ended>, cx: &Context) {
        let telling = AssertUnwindSafe(async { self.outcomes.ended(ended).await });
        if telling.catch_unwind().await.is_err() {
            cx.tasks.panicked("observer of outcomes");
        }
    }
}
