use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use doorstep_domain::ports::{
    Attempt, Clock, Presence, PushError, Pushed, Pusher, RetractReason, StoreError,
};
use doorstep_domain::{Ended, Notification, NotificationId, Outcome, Timestamp, UserId};
use futures_util::FutureExt;

use super::Refused;
use super::capacity::Capacity;
use super::census::Census;
use super::cluster::Hints;
use super::endings::Endings;
use super::policy::{Limits, Rules};
use super::refusals::RefusedCounts;
use super::tasks::{Tasks, at_once};

/// The ports, settings and counters that every policy and strategy shares.
///
/// **No code behind a port can break delivery**: each call of a port is made here or through
/// [`guarded`](Self::guarded), and a panic in it counts as a failure of that call. The exception is [`Clock`], which
/// must not panic.
pub(super) struct Context {
    pub(super) presence: Arc<dyn Presence>,
    pub(super) pusher: Arc<dyn Pusher>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) rules: Rules,
    pub(super) limits: Limits,
    pub(super) capacity: Arc<Capacity>,
    pub(super) census: Arc<Census>,
    pub(super) refusals: RefusedCounts,
    /// How many were accepted since the start.
    pub(super) accepted: AtomicU64,
    pub(super) endings: Endings,
    pub(super) tasks: Arc<Tasks>,
    pub(super) presence_checks: AtomicU64,
    /// The way to other nodes. Empty on a node alone.
    pub(super) others: OnceLock<Arc<Hints>>,
}

impl Context {
    /// Whether the user is there. If the port panics, returns true: the push then finds out.
    pub(super) async fn is_online(&self, user: &UserId) -> bool {
        self.presence_checks.fetch_add(1, Relaxed);
        self.unless_panic("presence", self.presence_of(user)).await.unwrap_or(true)
    }

    /// Whether the user is there; `None` if the port cannot say without waiting.
    pub(super) fn is_online_at_once(&self, user: &UserId) -> Option<bool> {
        self.presence_checks.fetch_add(1, Relaxed);
        let presence = self.unless_panic("presence", self.presence_of(user));
        at_once(std::pin::pin!(presence)).map(|known| known.unwrap_or(true))
    }

    async fn presence_of(&self, user: &UserId) -> bool {
        self.presence.is_online(user).await
    }

    /// Whether the user reads what is pushed; asked only when their mailbox is full.
    pub(super) async fn is_reading(&self, user: &UserId) -> bool {
        self.reads(&*self.presence, user).await
    }

    /// What this presence says to that.
    pub(super) async fn reads(&self, presence: &dyn Presence, user: &UserId) -> bool {
        let reading = async { presence.is_reading(user).await };
        self.unless_panic("presence", reading).await.unwrap_or(false)
    }

    /// Converts a notification from outside: moves `created_at` to the clock's timeline. Every time within
    /// delivery is on it, so a step of the wall clock neither ends nor revives a notification that waits.
    pub(super) fn taken_in(&self, n: Notification) -> Notification {
        Notification { created_at: self.clock.moment_of(n.created_at), ..n }
    }

    /// Converts a notification for the ports: with the time of day in `created_at`.
    pub(super) fn shown<'a>(&self, n: &'a Notification) -> Cow<'a, Notification> {
        let created_at = self.clock.wall_of(n.created_at);
        if created_at == n.created_at {
            return Cow::Borrowed(n);
        }
        Cow::Owned(Notification { created_at, ..n.clone() })
    }

    /// [`shown`](Self::shown) for a batch.
    pub(super) fn all_shown(&self, batch: &[Notification]) -> Vec<Notification> {
        batch.iter().map(|n| self.shown(n).into_owned()).collect()
    }

    /// Pushes, and waits no longer than [`Limits::push_timeout`].
    pub(super) async fn push(
        &self,
        notification: &Notification,
        attempt: Attempt,
        deadline: Timestamp,
    ) -> Result<Pushed, PushError> {
        let push = async {
            let shown = self.shown(notification);
            self.pusher.push(&shown, attempt, deadline).await
        };
        let push = self.unless_panic("pusher", push);
        #[cfg(not(shuttle))]
        let push = tokio::time::timeout(self.limits.push_timeout, push);
        #[cfg(shuttle)]
        let push = push.map(Ok::<_, tokio::time::error::Elapsed>);
        match push.await {
            Ok(Some(pushed)) => pushed,
            Ok(None) => Err(PushError("the pusher panicked".into())),
            Err(elapsed) => Err(PushError(Box::new(elapsed))),
        }
    }

    /// Tells connections to take a notification away.
    pub(super) async fn retract(&self, user: &UserId, id: NotificationId, reason: RetractReason) {
        let retract = async { self.pusher.retract(user, id, reason).await };
        self.unless_panic("pusher", retract).await;
    }

    /// Calls a store. A panic counts as [`StoreError::Unavailable`].
    pub(super) async fn guarded<T>(
        &self,
        store: &'static str,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let panicked = || StoreError::Unavailable(format!("the {store} panicked").into());
        self.unless_panic(store, call).await.unwrap_or_else(|| Err(panicked()))
    }

    async fn unless_panic<T>(
        &self,
        port: &'static str,
        call: impl Future<Output = T>,
    ) -> Option<T> {
        let result = AssertUnwindSafe(call).catch_unwind().await;
        result.map_err(|_| self.tasks.panicked(port)).ok()
    }

    /// Counts a new notification against the limits of the node and of its kind; rejects it if there is no room.
    pub(super) fn admit(&self, n: &Notification) -> Result<(), Refused> {
        if self.capacity.enter(&n.kind, n.payload.as_str().len()) {
            return Ok(());
        }
        self.reject(n);
        Err(Refused::NodeFull)
    }

    /// Ends a notification that was not accepted.
    pub(super) fn reject(&self, n: &Notification) {
        self.tell(vec![self.endings.end_here(n, Outcome::Rejected)]);
    }

    /// Tells the observers; the caller does not wait for them.
    pub(super) fn tell(&self, ended: Vec<Ended>) {
        self.endings.tell(ended);
    }
}
