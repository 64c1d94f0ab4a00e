//! The `[delivery]` table: one rule for all kinds of notifications, and rules for single kinds.

use std::num::NonZeroUsize;

use bytesize::ByteSize;
use doorstep_application::delivery;
use doorstep_domain::{Kind, Ttl};

use super::quoted::quoted;
use super::reader::SettingReader;
use super::value::{SettingValue, Shape, Span, words};

/// How notifications are delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeliveryConfig {
    /// The rule for each kind that has no rule of its own.
    pub(crate) default: RuleConfig,
    /// The rules of single kinds. A setting that a kind's table leaves out is as in the default.
    pub(crate) kinds: Vec<(Kind, RuleConfig)>,
}

/// A rule, for all kinds or for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RuleConfig {
    pub(crate) policy: PolicyChoice,
    pub(crate) strategy: StrategyChoice,
    pub(crate) poll_interval: Span,
    pub(crate) ttl: Ttl,
    pub(crate) on_expiry: OnExpiryChoice,
    pub(crate) ack_timeout: Span,
    pub(crate) max_per_user: PerUser,
    pub(crate) overflow: OverflowChoice,
    /// How many may wait on the node: of all kinds together, or of one.
    pub(crate) max_pending: NonZeroUsize,
    /// How many bytes their payloads may have together.
    pub(crate) max_pending_bytes: ByteSize,
}

words! {
    /// What happens to a notification for an absent user.
    PolicyChoice, "immediate, deferred or inbox", {
        Immediate = "immediate",
        Deferred = "deferred",
        Inbox = "inbox",
    }
}

words! {
    /// How a deferred notification waits.
    StrategyChoice, "wake or poll", {
        Wake = "wake",
        Poll = "poll",
    }
}

words! {
    /// What happens to a notification whose TTL ends.
    OnExpiryChoice, "drop or inbox", {
        Drop = "drop",
        Inbox = "inbox",
    }
}

words! {
    /// What gives way when a mailbox is full.
    OverflowChoice, "drop_oldest or reject", {
        DropOldest = "drop_oldest",
        Reject = "reject",
    }
}

/// How many may wait for one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PerUser(pub(crate) NonZeroUsize);

impl SettingValue for PerUser {
    const EXPECTED: &'static str = "a whole number from 1 to 60000";
    const SHAPE: Shape = Shape::Whole(1, 60_000);
    const BARE: bool = true;

    fn from_text(text: &str) -> Option<Self> {
        let number: NonZeroUsize = text.parse().ok()?;
        (number.get() <= delivery::Rule::MOST_PER_USER).then_some(Self(number))
    }

    fn to_text(&self) -> String {
        self.0.to_string()
    }
}

impl Default for RuleConfig {
    /// The defaults of [`delivery::Rule`] and [`delivery::Limits`] (`application/src/delivery/defaults.rs`).
    fn default() -> Self {
        let (rule, limits) = (delivery::Rule::default(), delivery::Limits::default());
        let at_least_1 = |number| NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN);
        Self {
            policy: match rule.policy {
                delivery::Policy::Immediate => PolicyChoice::Immediate,
                delivery::Policy::Deferred(_) => PolicyChoice::Deferred,
                delivery::Policy::Inbox => PolicyChoice::Inbox,
            },
            strategy: match rule.policy {
                delivery::Policy::Deferred(delivery::Strategy::Poll) => StrategyChoice::Poll,
                _ => StrategyChoice::Wake,
            },
            poll_interval: Span(rule.poll_interval),
            ttl: rule.ttl,
            on_expiry: match rule.on_expiry {
                delivery::OnExpiry::Drop => OnExpiryChoice::Drop,
                delivery::OnExpiry::Inbox => OnExpiryChoice::Inbox,
            },
            ack_timeout: Span(rule.ack_timeout),
            max_per_user: PerUser(at_least_1(rule.max_per_user)),
            overflow: match rule.overflow {
                delivery::Overflow::DropOldest => OverflowChoice::DropOldest,
                delivery::Overflow::Reject => OverflowChoice::Reject,
            },
            max_pending: at_least_1(limits.max_pending),
            max_pending_bytes: ByteSize(
                u64::try_from(limits.max_pending_bytes).unwrap_or(u64::MAX),
            ),
        }
    }
}

impl DeliveryConfig {
    pub(super) fn read(reader: &mut SettingReader) -> Self {
        let default = RuleConfig::read(reader, &["delivery"], RuleConfig::default());
        let mut kinds = Vec::new();
        for name in reader.tables(&["delivery", "kinds"]) {
            match name.parse() {
                Ok(kind) => {
                    let rule = RuleConfig::read(reader, &["delivery", "kinds", &name], default);
                    kinds.push((kind, rule));
                }
                Err(e) => reader.refuse(format!("delivery.kinds.{}: {e}", quoted(&name))),
            }
        }
        Self { default, kinds }
    }
}

impl RuleConfig {
    fn read(reader: &mut SettingReader, table: &[&str], otherwise: Self) -> Self {
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
