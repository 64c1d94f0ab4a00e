//! The strategy `wake`: a deferred notification waits in its user's mailbox, and the arrival itself flushes it.
//!
//! **No notification is missed**, because of the order on both sides: delivery accepts first and then checks
//! whether the user is there; the transport registers the connection first and then calls `arrived`. Whichever
//! comes first, one of the two sees the other.
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | the reports of callers: a notification, an arrival, a departure, an acknowledgement |
//! | `flush` | the one flush per mailbox, and its hold |
//! | `timer`, `alarm` | the timer task for all entries |
//! | `entries` | writes to the inbox |
//! | `inbox` | loads from the inbox, marks as delivered |
//! | `promotion` | what expired goes to the inbox |
//! | `queues` | what waits to be written to the inbox |

mod alarm;
mod entries;
mod flush;
mod inbox;
mod promotion;
mod queues;
mod timer;

use std::sync::Arc;

use doorstep_domain::ports::{EnteredBy, Inbox, RetractReason};
use doorstep_domain::{Ended, Notification, NotificationId, Outcome, SentBy, Step, UserId};

use self::alarm::Alarm;
pub(super) use self::queues::INBOX;
use self::queues::{InboxQueues, ToMark};
use super::context::Context;
use super::endings::{Acceptance, Ending};
use super::mailbox::{Acked, Admission, Bound, EntryState, Held, Mailrooms};
use super::policy::Rule;
use super::{NotAccepted, Refused};

/// The mailboxes, and the flushes that empty them.
pub(super) struct Wake {
    pub(super) cx: Arc<Context>,
    pub(super) rooms: Mailrooms,
    /// None without an inbox.
    queues: Option<InboxQueues>,
    alarm: Alarm,
}

impl Wake {
    pub(super) fn new(
        cx: Arc<Context>,
        inbox: Option<Arc<dyn Inbox>>,
        hash_seed: Option<u64>,
    ) -> Arc<Self> {
        let rooms = Mailrooms::new(cx.capacity.clone(), &cx.census, hash_seed);
        Arc::new(Self { rooms, queues: inbox.map(InboxQueues::new), alarm: Alarm::new(), cx })
    }

    /// Starts the loops that live as long as the node.
    pub(super) fn start(self: &Arc<Self>) {
        let this = self.clone();
        self.cx.tasks.spawn(async move {
            this.cx.tasks.keep_going("timer", || this.keep_time()).await;
        });
        if self.queues.is_none() {
            return;
        }
        let this = self.clone();
        self.cx.tasks.spawn(async move {
            this.cx.tasks.keep_going("marking of the inbox", || this.keep_marking()).await;
        });
        let this = self.clone();
        self.cx.tasks.spawn(async move {
            this.cx.tasks.keep_going("promoting to the inbox", || this.keep_promoting()).await;
        });
    }

    /// Puts a notification into its user's mailbox, and flushes the mailbox if the user is there.
    ///
    /// Waits only if the mailbox is full, for `Presence::is_reading`.
    pub(super) async fn accept(
        self: &Arc<Self>,
        n: Notification,
        rule: &Rule,
    ) -> Result<Acceptance, NotAccepted> {
        let (user, id) = (n.user_id.clone(), n.id);
        if let Err(full) = self.cx.admit(&n) {
            return Err(full.of(n));
        }
        let n = match self.put_in(n, rule, Bound::Ask) {
            Ok(()) => return Ok(self.flush_and_look(&user, id)),
            Err(n) => n,
        };
        // Gives its place back while it waits, because the caller may give up.
        self.cx.capacity.leave(&n.kind, n.payload.as_str().len());
        let bound = if self.cx.is_reading(&user).await { Bound::Open } else { Bound::Enforce };
        if let Err(full) = self.cx.admit(&n) {
            return Err(full.of(n));
        }
        match self.put_in(n, rule, bound) {
            Ok(()) => Ok(self.flush_and_look(&user, id)),
            Err(n) => {
                self.cx.capacity.leave(&n.kind, n.payload.as_str().len());
                self.cx.reject(&n);
                Err(Refused::MailboxFull.of(n))
            }
        }
    }

    /// Puts an admitted notification into its mailbox. Returns it, still admitted, if the mailbox is full.
    #[expect(clippy::result_large_err, reason = "moved once, and a box would cost an allocation")]
    fn put_in(
        self: &Arc<Self>,
        n: Notification,
        rule: &Rule,
        bound: Bound,
    ) -> Result<(), Notification> {
        let ttl = n.ttl.unwrap_or(rule.ttl);
        let due = n.created_at + ttl.as_duration();
        let (user, bytes) = (n.user_id.clone(), n.payload.as_str().len());
        let limited = self.cx.capacity.has_own_limits(&n.kind);
        let admission =
            self.rooms.put_in(&user, bytes, |room| room.accept(n, ttl, rule, bound, limited));
        match admission {
            Admission::In(gone) => {
                let ended = gone.iter().filter_map(|(n, outcome)| self.cx.endings.end(n, *outcome));
                self.cx.tell(ended.collect());
                self.alarm.due_at(due);
                Ok(())
            }
            Admission::Full(n) => Err(n),
        }
    }

    /// Puts in a notification that a stopped node left. The capacity has counted it.
    pub(super) fn claimed(&self, n: Notification, ended: &mut Vec<Ended>) {
        let ttl = n.ttl.unwrap_or(self.cx.rules.of(&n.kind).ttl);
        let due = n.created_at + ttl.as_duration();
        let (user, kind, bytes) = (n.user_id.clone(), n.kind.clone(), n.payload.as_str().len());
        let id = n.id;
        self.note_received(&n, SentBy::Handover);
        let limited = self.cx.capacity.has_own_limits(&kind);
        let admission = self.rooms.put_in(&user, bytes, |room| room.claimed(n, ttl, limited));
        match admission {
            Admission::In(gone) => {
                if gone.iter().any(|(n, _)| n.id == id) {
                    self.cx.capacity.leave_kind(&kind, bytes);
                }
                ended.extend(
                    gone.iter().filter_map(|(n, outcome)| self.cx.endings.end(n, *outcome)),
                );
                self.alarm.due_at(due);
            }
            // It is here already.
            Admission::Full(_) => self.cx.capacity.leave(&kind, bytes),
        }
    }

    /// Notes a notification that another node had before.
    pub(super) fn note_received(&self, n: &Notification, sent_by: SentBy) {
        self.cx.endings.note(&n.user_id, n.id, || Step::Received {
            sent_by,
            kind: n.kind.clone(),
            policy: "deferred",
            trace: n.trace,
        });
    }

    /// Puts in a notification that the log of a cluster says was accepted. Returns what it replaces.
    pub(super) fn entered(&self, n: Notification) -> Vec<(Notification, Outcome)> {
        let ttl = n.ttl.unwrap_or(self.cx.rules.of(&n.kind).ttl);
        let due = n.created_at + ttl.as_duration();
        let (user, kind, bytes) = (n.user_id.clone(), n.kind.clone(), n.payload.as_str().len());
        let limited = self.cx.capacity.has_own_limits(&kind);
        // All nodes hold it, whatever their limits: the node that accepted it had room.
        self.cx.capacity.force_one(&kind, bytes);
        match self.rooms.put_in(&user, bytes, |room| room.entered(n, ttl, limited)) {
            Admission::In(gone) => {
                self.alarm.due_at(due);
                gone
            }
            Admission::Full(_) => {
                self.cx.capacity.leave(&kind, bytes);
                Vec::new()
            }
        }
    }

    /// Flushes the mailbox if the user is there, and returns the state of this notification.
    fn flush_and_look(self: &Arc<Self>, user: &UserId, id: NotificationId) -> Acceptance {
        if !self.flush_if_online(user) {
            return Acceptance::Waiting;
        }
        match self.rooms.with(user, |room| room.state(user, id)) {
            Some(EntryState::InFlight) => Acceptance::InFlight,
            _ => Acceptance::Waiting,
        }
    }

    /// A connection began.
    pub(super) fn arrived(self: &Arc<Self>, user: &UserId) {
        self.rooms.with(user, |room| {
            room.presence_changed(user);
            if self.queues.is_some() {
                room.look_into_inbox(user);
            }
        });
        self.flush_later(user);
    }

    /// A connection ended.
    pub(super) fn departed(self: &Arc<Self>, user: &UserId) {
        self.rooms.with(user, |room| room.presence_changed(user));
        self.flush_later(user);
    }

    /// A connection that was full has room again.
    pub(super) fn ready(self: &Arc<Self>, user: &UserId) {
        self.flush_later(user);
    }

    /// A connection acknowledged this notification.
    pub(super) fn acknowledged(self: &Arc<Self>, user: &UserId, id: NotificationId) -> bool {
        let Some(acked) = self.rooms.with(user, |room| room.acknowledged(user, id)) else {
            return false;
        };
        let mut ended = Vec::new();
        self.finish(&acked, Outcome::Delivered, &mut ended);
        if !ended.is_empty() && self.cx.endings.has_observers() {
            let this = self.clone();
            self.cx.tasks.spawn(async move { this.cx.tell(ended) });
        }
        // Entries behind it may have waited for its retry.
        self.flush_later(user);
        true
    }

    /// Ends a notification, and queues the record for the inbox if it is kept there.
    fn finish(&self, acked: &Acked, outcome: Outcome, ended: &mut Vec<Ended>) {
        let n = &acked.notification;
        let Some(by) = acked.kept else {
            ended.extend(self.cx.endings.end(n, outcome));
            return;
        };
        // In a cluster the item may be acknowledged at two nodes: the first to record it tells it.
        let told_when_marked = self.is_shared() && by != EnteredBy::Expiry;
        if let Some(queues) = &self.queues {
            let ends = told_when_marked.then(|| Arc::new(Ending::of(n)));
            queues.mark(ToMark { user: n.user_id.clone(), id: n.id, ends });
        }
        if let Some(others) = self.cx.others.get() {
            let reason = RetractReason::AcknowledgedElsewhere;
            others.hint_to_retract(n.user_id.clone(), n.id, reason);
        }
        if by != EnteredBy::Expiry && !told_when_marked {
            ended.push(self.cx.endings.end_here(n, outcome));
        }
    }

    /// Whether other nodes have the same inbox, and so what is kept ends where the inbox says so.
    pub(super) fn is_shared(&self) -> bool {
        self.cx.others.get().is_some()
    }

    /// Takes what has not been promoted to the inbox when the node stops.
    pub(super) fn unpromoted(&self) -> Vec<Notification> {
        self.queues.as_ref().map(|queues| queues.promotions.drain()).unwrap_or_default()
    }

    /// The inbox, if there is one.
    pub(super) fn inbox(&self) -> Option<&dyn Inbox> {
        self.queues.as_ref().map(InboxQueues::store)
    }

    pub(super) fn held(&self) -> Held {
        self.rooms.held()
    }
}
