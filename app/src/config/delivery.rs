//! The `[delivery]` table: DESIGN calls it the delivery part of the file, and its keys are a contract.

use std::num::NonZeroUsize;

use bytesize::ByteSize;
use doorstep_application::delivery;
use doorstep_domain::{Kind, Ttl};

use super::reader::SettingReader;
use super::value::{SettingValue, Span, words};

/// How notifications are delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeliveryConfig {
    /// For every kind that has no rule of its own.
    pub(crate) default: RuleConfig,
    /// For these kinds; what a kind's table does not say is as in the default.
    pub(crate) kinds: Vec<(Kind, RuleConfig)>,
}

/// What can be said for all kinds or for one.
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
    /// The most that wait on the node: of all kinds together, or of one.
    pub(crate) max_pending: NonZeroUsize,
    /// The most they may weigh.
    pub(crate) max_pending_bytes: ByteSize,
}

words! {
    /// What becomes of a notification for an absent user.
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
    /// What becomes of a notification whose TTL ends.
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
    const BARE: bool = true;

    fn from_text(text: &str) -> Option<Self> {
        let number: NonZeroUsize = text.parse().ok()?;
        (number.get() <= delivery::Rule::MOST_PER_USER).then_some(Self(number))
    }

    fn to_text(&self) -> String {
        self.0.to_string()
    }
}

const MAX_PER_USER: PerUser = PerUser(NonZeroUsize::new(100).unwrap());
const MAX_PENDING: NonZeroUsize = NonZeroUsize::new(1_000_000).unwrap();
const MAX_PENDING_BYTES: ByteSize = ByteSize::mib(512);

impl Default for RuleConfig {
    fn default() -> Self {
        Self {
            policy: PolicyChoice::Deferred,
            strategy: StrategyChoice::Wake,
            poll_interval: Span::from_millis(500),
            ttl: Ttl::from_secs(60),
            on_expiry: OnExpiryChoice::Drop,
            ack_timeout: Span::from_secs(10),
            max_per_user: MAX_PER_USER,
            overflow: OverflowChoice::DropOldest,
            max_pending: MAX_PENDING,
            max_pending_bytes: MAX_PENDING_BYTES,
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
                Err(e) => reader.refuse(format!("delivery.kinds.{name:?}: {e}")),
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
