//! The delivery policy: what happens to a notification whose user is not there.
//!
//! It needs two ports, [`Presence`] and [`Pusher`], and the transport makes three calls: [`Delivery::arrived`],
//! [`Delivery::departed`] and [`Delivery::acknowledged`] (and a fourth, [`Delivery::ready`], if its connections
//! can be full). It knows neither accounts nor trading.
//!
//! | file | contents |
//! | --- | --- |
//! | `builder` | builds a delivery |
//! | `policy` | the rule per kind of notification, and the node's limits |
//! | `defaults` | their defaults, such as that of the TTL |
//! | `capacity` | counts what the node holds against its limits |
//! | `mailbox/` | the mailboxes: pure, without async or clock; and their shards under locks |
//! | `wake/` | the strategy `wake`: the flush, the timer task, the inbox |
//! | `poll` | the strategy `poll`, for comparison |
//! | `immediate` | the policy `immediate`, and a TTL of 0 |
//! | `handover` | a stopping node hands over, a starting node takes up |
//! | `recall` | a sender takes back what it sent |
//! | `claimer` | a running node takes up what others handed over |
//! | `cluster/` | several nodes that share a log |
//! | `endings/` | reports each end; receipts |
//! | `figures`, `kinds`, `census`, `refusals` | figures: the kinds that are told apart; what waits and since when; refusals |
//! | `context`, `tasks`, `sync` | guarded calls of the ports; background work; the lock |

mod builder;
mod capacity;
mod census;
mod claimer;
mod cluster;
mod context;
mod defaults;
mod endings;
mod figures;
mod handover;
mod immediate;
#[cfg(all(test, shuttle))]
mod interleavings;
mod kinds;
mod mailbox;
mod policy;
mod poll;
mod recall;
mod refusals;
mod sync;
mod tasks;
mod wake;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};

use doorstep_domain::ports::{Clock, Handover, Presence, Pusher, RetractReason, StoreError, Which};
use doorstep_domain::{Kind, Notification, NotificationId, SentBy, Step, TokenHash, UserId};
use tokio::sync::watch;

use self::claimer::Claimer;
use self::cluster::Cluster;
use self::context::Context;
use self::immediate::now_or_never;
use self::poll::Poll;
use self::wake::Wake;

pub use self::builder::{Builder, StartError};
pub use self::census::WaitingOfKind;
pub use self::cluster::{ClusterCounts, ClusterRecord, SharedLog, Standing, WINDOW};
pub use self::endings::{Acceptance, Receipt};
pub use self::figures::Usage;
pub use self::handover::Stopped;
pub use self::kinds::{KindSlot, Kinds};
pub use self::mailbox::Held;
pub use self::policy::{Limits, OnExpiry, Overflow, Policy, Rule, Rules, Strategy};
pub use self::recall::Recall;
pub use self::refusals::NotAccepted;

/// Delivers notifications to users, now or when they arrive.
///
/// Built by [`Delivery::builder`], inside a tokio runtime. Dropping it ends its background work and loses the
/// notifications that wait; [`stop`](Self::stop) hands them over first.
pub struct Delivery {
    cx: Arc<Context>,
    wake: Arc<Wake>,
    poll: Arc<Poll>,
    handover: Option<Arc<dyn Handover>>,
    /// Present when `handover` is, except in a cluster.
    claimer: Option<Arc<Claimer>>,
    cluster: Option<Arc<Cluster>>,
    /// Knows which notifications another store keeps.
    kept_elsewhere: OnceLock<Arc<KeptElsewhere>>,
}

opaque!(Delivery);

/// Tells of a notification whether another store keeps it until it ends.
type KeptElsewhere = dyn Fn(NotificationId) -> bool + Send + Sync;

/// Why a notification was not accepted. [`NotAccepted`] also has the notification.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The user's mailbox is full, and the rule of the kind is to refuse. The outcome is `rejected`.
    #[error("the user's mailbox is full")]
    MailboxFull,
    /// The node holds as many notifications, or bytes, as it may, of all kinds or of this one. The outcome is
    /// `rejected`. Try another node, or later.
    #[error("this node is full")]
    NodeFull,
    /// The policy is `inbox`, and no inbox is configured.
    #[error("the notification's policy is inbox, and no inbox is configured")]
    NoInbox,
    /// The inbox could not be written. Try later, with the same id.
    #[error("the notification could not be written to the inbox")]
    Store(#[source] StoreError),
    /// The node is stopping. Try another.
    #[error("this node is stopping")]
    Stopping,
    /// The log that this node shares with others is away, or has not been read yet. It may have been accepted
    /// nevertheless: try later, or another node, with the same id.
    #[error("the log of the cluster is away")]
    LogAway,
    /// It is larger than what the log of the cluster takes.
    #[error("the notification is too large for the log of the cluster")]
    TooLarge,
}

impl Delivery {
    /// Starts a builder with the two required ports and the clock.
    pub fn builder(
        presence: Arc<dyn Presence>,
        pusher: Arc<dyn Pusher>,
        clock: Arc<dyn Clock>,
    ) -> Builder {
        Builder::new(presence, pusher, clock)
    }

    /// Accepts a notification: pushes it now if its user is there, and otherwise applies the rule of its kind.
    ///
    /// The user needs no session, channel or subscription beforehand. The call waits only for the inbox (if the
    /// policy is `inbox`) and, if the user's mailbox is full, for [`Presence::is_reading`]; never for a
    /// connection.
    ///
    /// A refusal gives the notification back.
    pub async fn send(&self, notification: Notification) -> Result<Receipt, NotAccepted> {
        let policy = self.rule_of(&notification.kind).policy;
        self.send_by(policy, notification).await
    }

    /// Like [`send`](Self::send), with this policy instead of the one in the kind's rule; the rest of the rule
    /// applies unchanged. For a kind whose urgency varies.
    ///
    /// A notification deferred this way stays deferred when another node takes it up after a stop, whatever
    /// the kind's rule says there.
    pub async fn send_by(
        &self,
        policy: Policy,
        notification: Notification,
    ) -> Result<Receipt, NotAccepted> {
        let receipt = self.cx.endings.receipts.open(notification.id);
        let so_far = self.accept(policy, notification).await?;
        Ok(self.cx.endings.receipts.with_state(receipt, so_far))
    }

    /// Like [`send_by`](Self::send_by), without a receipt: for senders that learn the outcome in another way, such as
    /// an observer. Returns the state when it was accepted; it may have ended since.
    pub async fn accept(
        &self,
        policy: Policy,
        notification: Notification,
    ) -> Result<Acceptance, NotAccepted> {
        self.accept_from(SentBy::Program, policy, notification).await
    }

    /// Like [`accept`](Self::accept), for what somebody outside this program sent.
    pub async fn accept_from(
        &self,
        sent_by: SentBy,
        policy: Policy,
        notification: Notification,
    ) -> Result<Acceptance, NotAccepted> {
        let noted = self.cx.endings.chronicle().map(|chronicle| {
            let n = &notification;
            let (kind, policy, trace) = (n.kind.clone(), policy.as_str(), n.trace);
            chronicle.note(&n.user_id, n.id, Step::Received { sent_by, kind, policy, trace });
            (n.user_id.clone(), n.id)
        });
        let accepted = self.accept_or_refuse(policy, notification).await;
        match &accepted {
            Ok(_) => {
                self.cx.accepted.fetch_add(1, Relaxed);
            }
            Err(NotAccepted { why, .. }) => {
                if let Some((user, id)) = noted {
                    self.cx.endings.note(&user, id, || Step::Refused(why.as_str()));
                }
                self.cx.refusals.count(why.as_str());
            }
        }
        accepted
    }

    async fn accept_or_refuse(
        &self,
        policy: Policy,
        notification: Notification,
    ) -> Result<Acceptance, NotAccepted> {
        if self.cx.tasks.stop().is_cancelled() {
            return Err(Refused::Stopping.of(notification));
        }
        let rule = self.rule_of(&notification.kind);
        let (created_at, ttl) = (notification.created_at, notification.ttl);
        // A notification for the inbox is converted when it is loaded from there.
        let notification = match policy {
            Policy::Inbox => notification,
            Policy::Immediate | Policy::Deferred(_) => self.cx.taken_in(notification),
        };
        let no_time = ttl.unwrap_or(rule.ttl).is_zero();
        let accepted = match (policy, &self.cluster) {
            (Policy::Inbox, Some(cluster)) => cluster.accept_kept(notification).await,
            (Policy::Immediate | Policy::Deferred(_), Some(cluster)) => {
                cluster.accept(notification, rule, policy == Policy::Immediate).await
            }
            (Policy::Inbox, None) => {
                self.wake.write_to_inbox(notification).await.map(|(so_far, _)| so_far)
            }
            (Policy::Immediate, None) => now_or_never(&self.cx, notification),
            (Policy::Deferred(_), None) if no_time => now_or_never(&self.cx, notification),
            (Policy::Deferred(Strategy::Wake), None) => self.wake.accept(notification, rule).await,
            (Policy::Deferred(Strategy::Poll), None) => self.poll.accept(notification, rule).await,
        };
        accepted.map_err(|mut refused| {
            // As it came: some of the ways fill in a TTL, and most move the time to their own timeline.
            (refused.notification.created_at, refused.notification.ttl) = (created_at, ttl);
            refused
        })
    }

    /// Whether one more notification of this kind, with this many bytes of payload, would be taken now.
    pub fn has_room(&self, kind: &Kind, bytes: usize) -> bool {
        self.cx.capacity.has_room(kind, bytes)
    }

    /// Names a store that keeps some notifications until they end. A stop leaves these to it: they are neither handed
    /// over nor ended. The first call counts.
    pub fn keep_elsewhere(&self, keeps: impl Fn(NotificationId) -> bool + Send + Sync + 'static) {
        self.kept_elsewhere.set(Arc::new(keeps)).ok();
    }

    /// The rule for a kind.
    pub fn rule_of(&self, kind: &Kind) -> &Rule {
        self.cx.rules.of(kind)
    }

    /// Whether a notification in this node's memory waits or is in flight; `None` if it is not in memory.
    pub fn state_of(&self, user: &UserId, id: NotificationId) -> Option<Acceptance> {
        let state = self.wake.rooms.with(user, |room| room.state(user, id))?;
        // Its user may have it before the push has returned.
        let in_flight =
            matches!(state, mailbox::EntryState::Pushing | mailbox::EntryState::InFlight);
        Some(if in_flight { Acceptance::InFlight } else { Acceptance::Waiting })
    }

    /// A connection of this user has begun. Call it after [`Presence`] and [`Pusher`] know the connection.
    ///
    /// This call and the next three return at once and call no port but [`Clock`]: the work happens in tasks of the
    /// runtime in which delivery was started. They may be called from any thread, inside or outside a runtime, and
    /// while the caller holds a lock that its ports take too.
    pub fn arrived(&self, user: &UserId) {
        match &self.claimer {
            Some(claimer) => claimer.arrived(user),
            None => self.wake.arrived(user),
        }
    }

    /// A connection of this user has ended. Call it after [`Presence`] and [`Pusher`] have forgotten it.
    pub fn departed(&self, user: &UserId) {
        self.wake.departed(user);
    }

    /// A connection of this user acknowledged this notification, or its client does not acknowledge and the
    /// notification was written to it. An id that is unknown, another user's, or acknowledged before changes
    /// nothing. Returns whether this acknowledgement was the first.
    pub fn acknowledged(&self, user: &UserId, id: NotificationId) -> bool {
        self.wake.acknowledged(user, id)
    }

    /// A connection of this user that was full has room again. Only for a pusher that returned
    /// [`Pushed::Full`](doorstep_domain::ports::Pushed::Full); without this call delivery tries again
    /// after [`Limits::push_retry`].
    pub fn ready(&self, user: &UserId) {
        self.wake.ready(user);
    }

    /// The user closed this notification at one of their connections: those at other nodes take it away.
    pub fn dismissed(&self, user: &UserId, id: NotificationId) {
        if let Some(others) = self.cx.others.get() {
            others.hint_to_retract(user.clone(), id, RetractReason::DismissedElsewhere);
        }
    }

    /// The connections of this user at other nodes are closed.
    pub fn disconnect_elsewhere(&self, user: &UserId) {
        if let Some(others) = self.cx.others.get() {
            others.hint_to_disconnect(user.clone());
        }
    }

    /// The connections of this session at other nodes are closed.
    pub fn end_session_elsewhere(&self, user: &UserId, session: &TokenHash) {
        if let Some(others) = self.cx.others.get() {
            others.hint_at_sign_out(user.clone(), *session);
        }
    }

    /// What the log of the cluster says of a notification that any node accepted; `None` if it says nothing, or this node
    /// is alone. Fails if the log is away.
    pub async fn look_up_in_cluster(
        &self,
        id: NotificationId,
    ) -> Result<Option<ClusterRecord>, StoreError> {
        match &self.cluster {
            Some(cluster) => cluster.look_up(id).await,
            None => Ok(None),
        }
    }

    /// Waits until this node reads that a notification which any node accepted has ended. Returns at once if it is not
    /// known to be open.
    pub async fn wait_for_end_in_cluster(&self, id: NotificationId) {
        if let Some(cluster) = &self.cluster {
            cluster.wait_for_end(id).await;
        }
    }

    /// Looks for what the user's inbox has and this node may not have heard of, if the user is there.
    ///
    /// Only in a cluster, for each user who is connected here, after this node was cut off: what other nodes write to the
    /// inbox is told for a minute only.
    pub fn look_into_inbox(&self, user: &UserId) {
        self.wake.look_if_online(user);
    }

    /// How this node stands to the log of its cluster, and when that changes; `None` for a node alone.
    pub fn standing(&self) -> Option<watch::Receiver<Standing>> {
        self.cluster.as_ref().map(|cluster| cluster.standing())
    }

    /// Whether users may arrive: not while this node has not yet read what waits for them. Always true for a node alone.
    pub fn serves_arrivals(&self) -> bool {
        self.cluster.as_ref().is_none_or(|cluster| cluster.has_read())
    }

    /// What a node of a cluster has done and holds; `None` for a node alone.
    pub fn cluster_counts(&self) -> Option<ClusterCounts> {
        self.cluster.as_ref().map(|cluster| cluster.counts())
    }

    /// The user read one item of their inbox, or all of them. Returns false if there is no such item.
    pub async fn read(&self, user: &UserId, which: Which) -> Result<bool, StoreError> {
        self.wake.read(user, which).await
    }

    /// How many of this user's notifications wait and are in flight on this node.
    pub fn held_for(&self, user: &UserId) -> (usize, usize) {
        let (waiting, in_flight) = self.wake.rooms.with(user, |room| room.held_for(user));
        (waiting + self.poll.waiting_for(user), in_flight)
    }

    /// How many unread items the user has in the inbox; none without an inbox.
    pub async fn unread(&self, user: &UserId) -> Result<u64, StoreError> {
        match self.wake.inbox() {
            Some(store) => self.cx.guarded(wake::INBOX, store.unread(user)).await,
            None => Ok(0),
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.cx.tasks.stop().cancel();
    }
}
