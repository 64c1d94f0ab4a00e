//! The delivery policy: what happens to a notification whose user is not there.
//!
//! It needs two ports, [`Presence`] and [`Pusher`], and its transport makes three calls: [`Delivery::arrived`],
//! [`Delivery::departed`], [`Delivery::acknowledged`]. It knows neither accounts nor trading.
//!
//! | file | what |
//! | --- | --- |
//! | `policy` | the rules by which a kind of notification is treated, and the node's limits |
//! | `mailroom`, `entry`, `expiries` | the mailboxes, pure: no async, no clock, no lock |
//! | `mailrooms`, `gate` | the same in shards under locks, and the node's limits kept |
//! | `wake`, `alarm` | the strategy `wake`: the flush, and the one task that keeps time |
//! | `poll` | the strategy `poll`, for comparison |
//! | `desk` | the inbox at work: written first, brought, marked, promoted |
//! | `handover` | what a stopping node leaves, and what a starting one takes up |
//! | `receipt`, `endings` | how each end is made known |

mod alarm;
mod context;
mod desk;
mod endings;
mod entry;
mod expiries;
mod gate;
mod handover;
#[cfg(all(test, feature = "shuttle"))]
mod interleavings;
mod mailroom;
mod mailrooms;
mod policy;
mod poll;
mod receipt;
mod sync;
mod tasks;
mod wake;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use doorstep_domain::ports::{
    Attempt, Clock, Handover, Inbox, Outcomes, Presence, Pushed, Pusher, StoreError, Which,
};
use doorstep_domain::{Kind, Notification, NotificationId, Outcome, UserId};

use self::context::Context;
use self::endings::Endings;
use self::gate::Gate;
use self::poll::Poll;
use self::tasks::Tasks;
use self::wake::Wake;

pub use self::handover::Stopped;
pub use self::mailroom::Held;
pub use self::policy::{Limits, OnExpiry, Overflow, Policy, Rule, Rules, Strategy};
pub use self::receipt::{Acceptance, Receipt};

/// Delivers notifications to users, now or when they arrive.
///
/// Made by [`Delivery::builder`], inside a tokio runtime. Dropping it ends its background work and loses
/// what waits; [`stop`](Self::stop) hands it over first.
pub struct Delivery {
    cx: Arc<Context>,
    wake: Arc<Wake>,
    poll: Arc<Poll>,
    handover: Option<Arc<dyn Handover>>,
}

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

/// What a [`Delivery`] is made of.
pub struct Builder {
    presence: Arc<dyn Presence>,
    pusher: Arc<dyn Pusher>,
    clock: Arc<dyn Clock>,
    rules: Rules,
    limits: Limits,
    inbox: Option<Arc<dyn Inbox>>,
    handover: Option<Arc<dyn Handover>>,
    outcomes: Vec<Arc<dyn Outcomes>>,
    hash_seed: Option<u64>,
}

impl Builder {
    /// Which rule governs which kind; by default all wait for up to 60 s, strategy `wake`.
    #[must_use]
    pub fn rules(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    /// How much may wait on this node.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Where the inbox is kept: needed when a rule uses one.
    #[must_use]
    pub fn inbox(self, inbox: Arc<dyn Inbox>) -> Self {
        Self { inbox: Some(inbox), ..self }
    }

    /// Where a stopping node leaves what waits; without it a stop drops that.
    #[must_use]
    pub fn handover(self, handover: Arc<dyn Handover>) -> Self {
        Self { handover: Some(handover), ..self }
    }

    /// Somebody who is told how each notification ended.
    #[must_use]
    pub fn outcomes(mut self, outcomes: Arc<dyn Outcomes>) -> Self {
        self.outcomes.push(outcomes);
        self
    }

    /// Fixes how users are spread over the shards, so that a simulation plays the same schedule again. Not
    /// for a service: who knows the seed can choose user ids that all meet in one place.
    #[must_use]
    pub fn hash_seed(self, seed: u64) -> Self {
        Self { hash_seed: Some(seed), ..self }
    }

    /// Starts the background work and is ready. Must be called inside a tokio runtime.
    pub fn start(self) -> Delivery {
        let cx = Arc::new(Context {
            gate: Arc::new(Gate::new(&self.limits, &self.rules)),
            endings: Endings::new(self.outcomes, self.clock.clone()),
            presence: self.presence,
            pusher: self.pusher,
            clock: self.clock,
            rules: self.rules,
            limits: self.limits,
            tasks: Tasks::new(),
            presence_checks: AtomicU64::new(0),
        });
        let wake = Wake::new(cx.clone(), self.inbox, self.hash_seed);
        cx.tasks.spawn(wake.clone().keep_time());
        if wake.desk.is_some() {
            cx.tasks.spawn(wake.clone().keep_marking());
            cx.tasks.spawn(wake.clone().keep_promoting());
        }
        Delivery { poll: Poll::new(cx.clone()), wake, cx, handover: self.handover }
    }
}

impl Delivery {
    /// The two ports it needs, and the time of day.
    pub fn builder(
        presence: Arc<dyn Presence>,
        pusher: Arc<dyn Pusher>,
        clock: Arc<dyn Clock>,
    ) -> Builder {
        Builder {
            presence,
            pusher,
            clock,
            rules: Rules::default(),
            limits: Limits::default(),
            inbox: None,
            handover: None,
            outcomes: Vec::new(),
            hash_seed: None,
        }
    }

    /// Accepts a notification: pushes it now if its user is there, else does as the rule of its kind says.
    ///
    /// Its user needs no session, channel or subscription made beforehand. Waits only for the store, and
    /// that only for a kind whose policy is `inbox`; never for a connection.
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
        let now_or_never = notification.ttl.unwrap_or(rule.ttl).is_zero();
        let so_far = match policy {
            Policy::Inbox => self.wake.keep(notification).await?,
            Policy::Immediate => self.now_or_never(notification)?,
            Policy::Deferred(_) if now_or_never => self.now_or_never(notification)?,
            Policy::Deferred(Strategy::Wake) => self.wake.accept(notification, rule)?,
            Policy::Deferred(Strategy::Poll) => self.poll.accept(notification, rule)?,
        };
        Ok(self.cx.endings.receipts.with_state(receipt, so_far))
    }

    /// The rule that governs a kind.
    pub fn rule_of(&self, kind: &Kind) -> &Rule {
        self.cx.rules.of(kind)
    }

    /// Whether a notification that waits in this node's memory is in flight now; `None` if it is not there.
    pub fn state_of(&self, user: &UserId, id: NotificationId) -> Option<Acceptance> {
        let state = self.wake.rooms.with(user, (0, 0), |room| room.state(user, id))?;
        let in_flight = matches!(state, entry::State::InFlight);
        Some(if in_flight { Acceptance::InFlight } else { Acceptance::Waiting })
    }

    /// TTL 0: what a connection takes is delivered, what nobody takes has expired.
    fn now_or_never(&self, n: Notification) -> Result<Acceptance, Refused> {
        let bytes = n.payload.as_str().len();
        if !self.cx.gate.enter(&n.kind, bytes) {
            self.cx.tell_later(vec![self.cx.endings.end(&n, Outcome::Rejected)]);
            return Err(Refused::NodeFull);
        }
        let cx = self.cx.clone();
        self.cx.tasks.now_or_later(async move {
            let deadline = cx.clock.now() + cx.limits.push_timeout;
            let taken = async {
                cx.is_online(&n.user_id).await
                    && matches!(
                        cx.push(&n, Attempt::FIRST, deadline).await,
                        Ok(Pushed::Written | Pushed::InFlight)
                    )
            };
            let taken = tokio::select! {
                biased;
                taken = taken => taken,
                () = cx.tasks.stop().cancelled() => false,
            };
            cx.gate.leave(&n.kind, bytes);
            let outcome = if taken { Outcome::Delivered } else { Outcome::Expired };
            cx.endings.tell(vec![cx.endings.end(&n, outcome)]).await;
        });
        Ok(Acceptance::Waiting)
    }

    /// A connection of this user has begun. Call it after [`Presence`] and [`Pusher`] know the connection.
    pub fn arrived(&self, user: &UserId) {
        self.wake.arrived(user);
    }

    /// A connection of this user has ended. Call it after [`Presence`] and [`Pusher`] have forgotten it.
    pub fn departed(&self, user: &UserId) {
        self.wake.departed(user);
    }

    /// A connection of this user acknowledged this notification, or (if it does not acknowledge) was
    /// written it. Ids that are unknown, somebody else's or were acknowledged before change nothing.
    pub fn acknowledged(&self, user: &UserId, id: NotificationId) {
        self.wake.acknowledged(user, id);
    }

    /// The user read one item of their inbox, or all. False if there is no such item.
    pub async fn read(&self, user: &UserId, which: Which) -> Result<bool, StoreError> {
        self.wake.read(user, which).await
    }

    /// What this node holds now.
    pub fn held(&self) -> Held {
        let held = self.wake.held();
        let (_, bytes) = self.cx.gate.load();
        Held { waiting: held.waiting + self.poll.waiting(), bytes, ..held }
    }

    /// How many notifications have ended so since the start.
    pub fn ended(&self, outcome: Outcome) -> u64 {
        self.cx.endings.count(outcome)
    }

    /// How often somebody was looked for since the start: what `poll` pays for and `wake` does not.
    pub fn presence_checks(&self) -> u64 {
        self.cx.presence_checks.load(Relaxed)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.cx.tasks.stop().cancel();
    }
}
