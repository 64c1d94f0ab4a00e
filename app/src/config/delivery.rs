//! The `[delivery]` table. Its keys are a contract.

use std::num::NonZeroUsize;

use bytesize::ByteSize;
use doorstep_application::delivery;
use doorstep_domain::{Kind, Ttl};

use super::reader::Reader;
use super::value::{Span, Value, words};

/// How notifications are delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// For every kind that has no rule of its own.
    pub(crate) default: Rule,
    /// For these kinds; what a kind's table does not say is as in the default.
    pub(crate) kinds: Vec<(Kind, Rule)>,
}

/// What can be said for all kinds or for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) policy: Policy,
    pub(crate) strategy: Strategy,
    pub(crate) poll_interval: Span,
    pub(crate) ttl: Ttl,
    pub(crate) on_expiry: OnExpiry,
    pub(crate) ack_timeout: Span,
    pub(crate) max_per_user: PerUser,
    pub(crate) overflow: Overflow,
    /// The most that wait on the node: of all kinds together, or of one.
    pub(crate) max_pending: NonZeroUsize,
    /// The most they may weigh.
    pub(crate) max_pending_bytes: ByteSize,
}

words! {
    /// What becomes of a notification for an absent user.
    Policy, "immediate, deferred or inbox", {
        Immediate = "immediate",
        Deferred = "deferred",
        Inbox = "inbox",
    }
}

words! {
    /// How a deferred notification waits.
    Strategy, "wake or poll", {
        Wake = "wake",
        Poll = "poll",
    }
}

words! {
    /// What becomes of a notification whose TTL ends.
    OnExpiry, "drop or inbox", {
        Drop = "drop",
        Inbox = "inbox",
    }
}

words! {
    /// What gives way when a mailbox is full.
    Overflow, "drop_oldest or reject", {
        DropOldest = "drop_oldest",
        Reject = "reject",
    }
}

/// How many may wait for one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PerUser(pub(crate) NonZeroUsize);

impl Value for PerUser {
    const EXPECTED: &'static str = "a whole number from 1 to 60000";
    const BARE: bool = true;

    fn from_text(text: &str) -> Option<Self> {
        let number: NonZeroUsize = text.parse().ok()?;
        (number.get() <= delivery::Rule::MOST_PER_USER).then_some(Self(number))
    }

    fn to_text(&self) -> String {
        self.0.to_string()
    }
}

/// The defaults of [`delivery::Rule`] and [`delivery::Limits`], which have no copy here.
impl Default for Rule {
    fn default() -> Self {
        let (rule, limits) = (delivery::Rule::default(), delivery::Limits::default());
        let at_least_1 = |number| NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN);
        Self {
            policy: match rule.policy {
                delivery::Policy::Immediate => Policy::Immediate,
                delivery::Policy::Deferred(_) => Policy::Deferred,
                delivery::Policy::Inbox => Policy::Inbox,
            },
            strategy: match rule.policy {
                delivery::Policy::Deferred(delivery::Strategy::Poll) => Strategy::Poll,
                _ => Strategy::Wake,
            },
            poll_interval: Span(rule.poll_interval),
            ttl: rule.ttl,
            on_expiry: match rule.on_expiry {
                delivery::OnExpiry::Drop => OnExpiry::Drop,
                delivery::OnExpiry::Inbox => OnExpiry::Inbox,
            },
            ack_timeout: Span(rule.ack_timeout),
            max_per_user: PerUser(at_least_1(rule.max_per_user)),
            overflow: match rule.overflow {
                delivery::Overflow::DropOldest => Overflow::DropOldest,
                delivery::Overflow::Reject => Overflow::Reject,
            },
            max_pending: at_least_1(limits.max_pending),
            max_pending_bytes: ByteSize(
                u64::try_from(limits.max_pending_bytes).unwrap_or(u64::MAX),
            ),
        }
    }
}

impl Delivery {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let default = Rule::read(reader, &["delivery"], Rule::default());
        let mut kinds = Vec::new();
        for name in reader.tables(&["delivery", "kinds"]) {
            match name.parse() {
                Ok(kind) => {
                    let rule = Rule::read(reader, &["delivery", "kinds", &name], default);
                    kinds.push((kind, rule));
                }
                Err(e) => reader.refuse(format!("delivery.kinds.{name:?}: {e}")),
            }
        }
        Self { default, kinds }
    }
}

impl Rule {
    fn read(reader: &mut Reader, table: &[&str], otherwise: Self) -> Self {
        let key = |name| [table, &[name]].concat();
        Self {
            policy: reader.read(&key("policy"), otherwise.policy),
            strategy: reader.read(&key("strategy"), otherwise.strategy),
            poll_interval: reader.read(&key("poll_interval"), otherwise.poll_interval),
            ttl: reader.read(&key("ttl"), otherwise.ttl),
            on_expiry: reader.read(&key("on_expiry"), otherwise.on_expiry),
            ack_timeout: reader.read(&key("ack_timeout"), otherwise.ack_timeout),
            max_per_user: reader.read(&key("max_per_user"), otherwise.max_per_user),
            overflow: reader.read(&key("overflow"), otherwise.overflow),
            max_pending: reader.read(&key("max_pending"), otherwise.max_pending),
            max_pending_bytes: reader.read(&key("max_pending_bytes"), otherwise.max_pending_bytes),
        }
    }
}
