use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use doorstep_domain::ports::{Attempt, Pushed};
use doorstep_domain::{Notification, NotificationId, Outcome, UserId};

use super::context::Context;
use super::endings::Acceptance;
use super::policy::{Overflow, Rule};
use super::sync::Mutex;
use super::{NotAccepted, Refused};

/// The strategy `poll`: the original solution. One light task per notification checks at intervals whether the
/// user is there, pushes if so, and gives up when the TTL ends.
///
/// Kept for comparison, and simple on purpose: a notification counts as delivered when a connection takes it,
/// without an acknowledgement, and there is no order between notifications.
pub(super) struct Poll {
    cx: Arc<Context>,
    /// The notifications that wait, oldest first per user, so that a full mailbox can drop its oldest.
    /// **The caller that takes a notification out ends it.**
    waiting: Mutex<HashMap<UserId, VecDeque<Arc<Notification>>>>,
    /// The waiting notifications that were handed to the pusher, which may have handed them to a connection.
    tried: Mutex<HashSet<NotificationId>>,
}

impl Poll {
    pub(super) fn new(cx: Arc<Context>) -> Arc<Self> {
        Arc::new(Self { cx, waiting: Mutex::default(), tried: Mutex::default() })
    }

    /// Waits only if as many wait as the rule allows, for `Presence::is_reading`.
    pub(super) async fn accept(
        self: &Arc<Self>,
        mut n: Notification,
        rule: &Rule,
    ) -> Result<Acceptance, NotAccepted> {
        n.ttl.get_or_insert(rule.ttl);
        let is_full = self.waiting_for(&n.user_id) >= rule.max_per_user;
        // Asked before it has a place: the caller may give up.
        let is_open = is_full && self.cx.is_reading(&n.user_id).await;
        if let Err(full) = self.cx.admit(&n) {
            return Err(full.of(n));
        }
        let n = Arc::new(n);
        let gone = {
            let mut waiting = self.waiting.lock();
            let queue = waiting.entry(n.user_id.clone()).or_default();
            let replaced = n.topic.as_ref().and_then(|topic| {
                queue.iter().position(|other| other.topic.as_ref() == Some(topic))
            });
            let full = !is_open && replaced.is_none() && queue.len() >= rule.max_per_user;
            if full && rule.overflow == Overflow::Reject {
                Some((n.clone(), Outcome::Rejected))
            } else {
                queue.push_back(n.clone());
                self.cx.census.entered(self.cx.census.place_of(&n));
                match replaced {
                    Some(older) => queue.remove(older).map(|older| (older, Outcome::Replaced)),
                    None if full => queue.pop_front().map(|oldest| (oldest, Outcome::Dropped)),
                    None => None,
                }
            }
        };
        if let Some((gone, outcome)) = gone {
            if outcome != Outcome::Rejected {
                self.left(&gone);
            }
            self.cx.capacity.leave(&gone.kind, gone.payload.as_str().len());
            self.cx.tell(vec![self.cx.endings.end_here(&gone, outcome)]);
            if outcome == Outcome::Rejected {
                drop(gone);
                return Err(Refused::MailboxFull.of(Arc::unwrap_or_clone(n)));
            }
        }
        let (this, rule) = (self.clone(), *rule);
        self.cx.tasks.now_or_later(async move { this.run(n, rule).await });
        Ok(Acceptance::Waiting)
    }

    /// Checks, pushes and sleeps until the notification is delivered, its TTL ends, or another caller ended it.
    async fn run(&self, n: Arc<Notification>, rule: Rule) {
        let deadline = n.created_at + n.ttl.unwrap_or(rule.ttl).as_duration();
        let outcome = loop {
            if self.cx.clock.now() >= deadline {
                break Outcome::Expired;
            }
            if self.cx.is_online(&n.user_id).await
                && self.trying(&n)
                && let Ok(Pushed::Written | Pushed::InFlight) =
                    self.cx.push(&n, Attempt::FIRST, deadline).await
            {
                break Outcome::Delivered;
            }
            let left = deadline.since(self.cx.clock.now());
            tokio::select! {
                biased;
                () = self.cx.tasks.stop().cancelled() => return,
                () = tokio::time::sleep(rule.poll_interval.min(left)) => {}
            }
            if !self.waits(&n.user_id, n.id) {
                return;
            }
        };
        if self.take(&n.user_id, n.id) {
            self.cx.capacity.leave(&n.kind, n.payload.as_str().len());
            self.cx.tell(vec![self.cx.endings.end_here(&n, outcome)]);
        }
    }

    fn waits(&self, user: &UserId, id: NotificationId) -> bool {
        self.waiting.lock().get(user).is_some_and(|queue| queue.iter().any(|n| n.id == id))
    }

    /// Notes that a push is about to be made. Returns false if the notification has ended.
    fn trying(&self, n: &Notification) -> bool {
        // Under the lock that a recall takes, so that it learns of this push or prevents it.
        let waiting = self.waiting.lock();
        let waits = waiting.get(&n.user_id).is_some_and(|queue| queue.iter().any(|o| o.id == n.id));
        if waits {
            self.tried.lock().insert(n.id);
        }
        waits
    }

    /// Takes out what `such` says, with whether a connection may have been handed it.
    pub(super) fn recall(
        &self,
        such: impl Fn(&Notification) -> bool,
    ) -> Vec<(Arc<Notification>, bool)> {
        let mut taken = Vec::new();
        let mut waiting = self.waiting.lock();
        waiting.retain(|_, queue| {
            queue.retain(|n| {
                let goes = such(n);
                if goes {
                    self.left(n);
                    taken.push((n.clone(), self.tried.lock().remove(&n.id)));
                }
                !goes
            });
            !queue.is_empty()
        });
        taken
    }

    fn take(&self, user: &UserId, id: NotificationId) -> bool {
        let mut waiting = self.waiting.lock();
        let Some(queue) = waiting.get_mut(user) else { return false };
        let Some(position) = queue.iter().position(|n| n.id == id) else { return false };
        if let Some(n) = queue.remove(position) {
            self.left(&n);
        }
        self.tried.lock().remove(&id);
        if queue.is_empty() {
            waiting.remove(user);
        }
        if waiting.is_empty() {
            waiting.shrink_to(1024);
        }
        true
    }

    /// It waits no longer.
    fn left(&self, n: &Notification) {
        self.cx.census.left(self.cx.census.place_of(n));
    }

    /// Takes out everything that waits.
    pub(super) fn drain(&self) -> Vec<Notification> {
        let all = std::mem::take(&mut *self.waiting.lock());
        self.tried.lock().clear();
        all.values().flatten().for_each(|n| self.left(n));
        all.into_values().flatten().map(Arc::unwrap_or_clone).collect()
    }

    pub(super) fn waiting_for(&self, user: &UserId) -> usize {
        self.waiting.lock().get(user).map_or(0, VecDeque::len)
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.lock().values().map(VecDeque::len).sum()
    }
}
