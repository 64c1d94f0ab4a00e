use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use doorstep_domain::ports::{Attempt, Clock, Presence, PushError, Pushed, Pusher};
use doorstep_domain::{Ended, Notification, Timestamp, UserId};
use futures_util::FutureExt;

use super::endings::Endings;
use super::gate::Gate;
use super::policy::{Limits, Rules};
use super::tasks::{Tasks, at_once};

/// What every policy and strategy works with.
pub(super) struct Context {
    pub(super) presence: Arc<dyn Presence>,
    pub(super) pusher: Arc<dyn Pusher>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) rules: Rules,
    pub(super) limits: Limits,
    pub(super) gate: Arc<Gate>,
    pub(super) endings: Endings,
    pub(super) tasks: Tasks,
    pub(super) presence_checks: AtomicU64,
}

impl Context {
    pub(super) async fn is_online(&self, user: &UserId) -> bool {
        self.presence_checks.fetch_add(1, Relaxed);
        self.presence.is_online(user).await
    }

    /// Whether the user is there, if that is known without waiting.
    pub(super) fn is_online_at_once(&self, user: &UserId) -> Option<bool> {
        self.presence_checks.fetch_add(1, Relaxed);
        at_once(self.presence.is_online(user))
    }

    /// Pushes, and never waits longer than the limit for it. A pusher that panics has failed, no more.
    pub(super) async fn push(
        &self,
        notification: &Notification,
        attempt: Attempt,
        deadline: Timestamp,
    ) -> Result<Pushed, PushError> {
        let push = AssertUnwindSafe(self.pusher.push(notification, attempt, deadline));
        let push = push.catch_unwind();
        #[cfg(not(feature = "shuttle"))]
        let push = tokio::time::timeout(self.limits.push_timeout, push);
        #[cfg(feature = "shuttle")]
        let push = push.map(Ok::<_, tokio::time::error::Elapsed>);
        match push.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(PushError("the pusher panicked".into())),
            Err(elapsed) => Err(PushError(Box::new(elapsed))),
        }
    }

    /// Tells the observers, without making the caller wait for them.
    pub(super) fn tell_later(self: &Arc<Self>, ended: Vec<Ended>) {
        if ended.is_empty() || !self.endings.has_observers() {
            return;
        }
        let this = self.clone();
        self.tasks.now_or_later(async move { this.endings.tell(ended).await });
    }
}
