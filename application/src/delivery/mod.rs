//! The delivery policy: what happens to a notification whose user is not there.
//!
//! It needs two ports, [`Presence`] and [`Pusher`], and its transport makes three calls: [`Delivery::arrived`],
//! [`Delivery::departed`], [`Delivery::acknowledged`] (and a fourth, [`Delivery::ready`], if its connections can
//! be full). It knows neither accounts nor trading.
//!
//! | file | what |
//! | --- | --- |
//! | `builder` | how a delivery is made |
//! | `policy` | the rules by which a kind of notification is treated, and the node's limits |
//! | `capacity` | the node's limits, kept |
//! | `mailbox/` | the mailboxes, pure: no async, no clock; and their shards under locks |
//! | `wake/` | the strategy `wake`: the flush, the one task that keeps time, the inbox |
//! | `poll` | the strategy `poll`, for comparison |
//! | `immediate` | the policy `immediate`, and a TTL of 0 |
//! | `handover` | what a stopping node leaves, and what a starting one takes up |
//! | `claims` | what a running node takes up of it |
//! | `endings/` | how each end is made known; receipts |
//! | `context`, `tasks`, `sync` | the guarded calls of the ports; background work; the one lock |

mod builder;
mod capacity;
mod claims;
mod context;
mod endings;
mod handover;
mod immediate;
#[cfg(all(test, feature = "shuttle"))]
mod interleavings;
mod mailbox;
mod policy;
mod poll;
mod sync;
mod tasks;
mod wake;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};

use doorstep_domain::ports::{Clock, Handover, Presence, Pusher, StoreError, Which};
use doorstep_domain::{Kind, Notification, NotificationId, Outcome, UserId};

use self::claims::Claims;
use self::context::Context;
use self::immediate::now_or_never;
use self::poll::Poll;
use self::wake::Wake;

pub use self::builder::{Builder, StartError};
pub use self::endings::{Acceptance, Receipt};
pub use self::handover::Stopped;
pub use self::mailbox::Held;
pub use self::policy::{Limits, OnExpiry, Overflow, Policy, Rule, Rules, Strategy};

/// Delivers notifications to users, now or when they arrive.
///
/// Made by [`Delivery::builder`], inside a tokio runtime. Dropping it ends its background work and loses
/// what waits; [`stop`](Self::stop) hands it over first.
pub struct Delivery {
    cx: Arc<Context>,
    wake: Arc<Wake>,
    poll: Arc<Poll>,
    handover: Option<Arc<dyn Handover>>,
    /// There is one where there is a handover.
    claims: Option<Arc<Claims>>,
    /// Tells what the next node finds without a handover.
    kept_elsewhere: OnceLock<Arc<KeptElsewhere>>,
}

/// Tells of a notification whether another store keeps it until it ends.
type KeptElsewhere = dyn Fn(NotificationId) -> bool + Send + Sync;

/// Why a notification was not accepted. Its outcome, `rejected`, has been counted and told.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Its user's mailbox is full, and the rule of its kind is to refuse.
    #[error("the user's mailbox is full")]
    MailboxFull,
    /// The node holds as many notifications, or bytes, as it may, of all kinds or of this one: try another
    /// node, or later.
    #[error("this node holds as many notifications as it may")]
    NodeFull,
    /// It belongs into the inbox, and none is configured.
    #[error("the notification belongs into the inbox, and no inbox is configured")]
    NoInbox,
    /// It belongs into the inbox, and the store did not take it: try later, with the same id.
    #[error("the notification could not be written to the inbox")]
    Store(#[source] StoreError),
    /// The node is stopping: try another.
    #[error("this node is stopping")]
    Stopping,
}

impl Delivery {
    /// Delivery needs the two ports, and the time.
    pub fn builder(
        presence: Arc<dyn Presence>,
        pusher: Arc<dyn Pusher>,
        clock: Arc<dyn Clock>,
    ) -> Builder {
        Builder::new(presence, pusher, clock)
    }

    /// Accepts a notification: pushes it now if its user is there, else does as the rule of its kind says.
    ///
    /// Its user needs no session, channel or subscription made beforehand. Waits only for the inbox (where the
    /// policy is `inbox`) and, when the user's mailbox is full, for the answer whether the user reads; never for
    /// a connection.
    pub async fn send(&self, notification: Notification) -> Result<Receipt, Refused> {
        let policy = self.rule_of(&notification.kind).policy;
        self.send_by(policy, notification).await
    }

    /// As [`send`](Self::send), by this policy instead of that of the kind's rule; all else stays as the rule
    /// says. For a kind that is more urgent at one time than at another.
    ///
    /// What is deferred by it is still deferred when another node takes it up after a stop, whatever its
    /// kind's rule says there.
    pub async fn send_by(
        &self,
        policy: Policy,
        notification: Notification,
    ) -> Result<Receipt, Refused> {
        if self.cx.tasks.stop().is_cancelled() {
            return Err(Refused::Stopping);
        }
        let rule = self.rule_of(&notification.kind);
        let receipt = self.cx.endings.receipts.open(notification.id);
        // What is written to the inbox first is loaded from there, and converted then.
        let notification = match policy {
            Policy::Inbox => notification,
            Policy::Immediate | Policy::Deferred(_) => self.cx.taken_in(notification),
        };
        let no_time = notification.ttl.unwrap_or(rule.ttl).is_zero();
        let so_far = match policy {
            Policy::Inbox => self.wake.keep(notification).await?,
            Policy::Immediate => now_or_never(&self.cx, notification)?,
            Policy::Deferred(_) if no_time => now_or_never(&self.cx, notification)?,
            Policy::Deferred(Strategy::Wake) => self.wake.accept(notification, rule).await?,
            Policy::Deferred(Strategy::Poll) => self.poll.accept(notification, rule)?,
        };
        Ok(self.cx.endings.receipts.with_state(receipt, so_far))
    }

    /// Whether one more notification of this kind, with so many bytes of payload, would be taken now.
    pub fn has_room(&self, kind: &Kind, bytes: usize) -> bool {
        self.cx.capacity.has_room(kind, bytes)
    }

    /// Names a store that keeps some notifications until they end. A stop leaves these to it: they are neither handed
    /// over nor ended. The first call counts.
    pub fn keep_elsewhere(&self, keeps: impl Fn(NotificationId) -> bool + Send + Sync + 'static) {
        self.kept_elsewhere.set(Arc::new(keeps)).ok();
    }

    /// The rule that governs a kind.
    pub fn rule_of(&self, kind: &Kind) -> &Rule {
        self.cx.rules.of(kind)
    }

    /// Whether a notification that waits in this node's memory is in flight now; `None` if it is not there.
    pub fn state_of(&self, user: &UserId, id: NotificationId) -> Option<Acceptance> {
        let state = self.wake.rooms.with(user, |room| room.state(user, id))?;
        let in_flight = matches!(state, mailbox::State::InFlight);
        Some(if in_flight { Acceptance::InFlight } else { Acceptance::Waiting })
    }

    /// A connection of this user has begun. Call it after [`Presence`] and [`Pusher`] know the connection.
    ///
    /// This call and the next three return at once and call no port: the work happens in tasks of the runtime
    /// in which delivery was started. So they may be called from any thread, inside or outside of a runtime,
    /// and while you hold a lock that your ports take too.
    pub fn arrived(&self, user: &UserId) {
        match &self.claims {
            Some(claims) => claims.arrived(user),
            None => self.wake.arrived(user),
        }
    }

    /// A connection of this user has ended. Call it after [`Presence`] and [`Pusher`] have forgotten it.
    pub fn departed(&self, user: &UserId) {
        self.wake.departed(user);
    }

    /// A connection of this user acknowledged this notification or, if its client does not acknowledge, was
    /// written it. Ids that are unknown, another user's or were acknowledged before change nothing.
    pub fn acknowledged(&self, user: &UserId, id: NotificationId) {
        self.wake.acknowledged(user, id);
    }

    /// A connection of this user that was full has room again. Only for a pusher that returned
    /// [`Pushed::Full`](doorstep_domain::ports::Pushed::Full); without this call delivery tries again
    /// after [`Limits::push_retry`].
    pub fn ready(&self, user: &UserId) {
        self.wake.ready(user);
    }

    /// The user read one item of their inbox, or all. False if there is no such item.
    pub async fn read(&self, user: &UserId, which: Which) -> Result<bool, StoreError> {
        self.wake.read(user, which).await
    }

    /// What this node holds now.
    pub fn held(&self) -> Held {
        let held = self.wake.held();
        let (_, bytes) = self.cx.capacity.load();
        Held { waiting: held.waiting + self.poll.waiting(), bytes, ..held }
    }

    /// How many notifications have ended so since the start.
    pub fn ended(&self, outcome: Outcome) -> u64 {
        self.cx.endings.count(outcome)
    }

    /// How many panics of ports were caught since the start: faults in the code behind them.
    pub fn panics(&self) -> u64 {
        self.cx.tasks.panics()
    }

    /// How often a user's presence was asked for since the start: the cost of `poll` that `wake` does not have.
    pub fn presence_checks(&self) -> u64 {
        self.cx.presence_checks.load(Relaxed)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.cx.tasks.stop().cancel();
    }
}
