use std::collections::HashMap;
use std::time::Duration;

use doorstep_domain::{Kind, Ttl};

/// Which rule governs which kind of notification.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// For every kind that has no rule of its own.
    pub default: Rule,
    /// For these kinds.
    pub kinds: HashMap<Kind, Rule>,
}

impl Rules {
    /// The rule for a kind.
    pub fn of(&self, kind: &Kind) -> &Rule {
        self.kinds.get(kind).unwrap_or(&self.default)
    }

    /// Whether any kind may end up in the inbox.
    pub fn use_inbox(&self) -> bool {
        let mut all = self.kinds.values().chain([&self.default]);
        all.any(|rule| rule.policy == Policy::Inbox || rule.on_expiry == OnExpiry::Inbox)
    }
}

/// What happens to a notification of some kind whose user is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Drop it, keep it a while, or keep it for good.
    pub policy: Policy,
    /// How long it may wait, where the notification itself does not say.
    pub ttl: Ttl,
    /// How often [`Strategy::Poll`] looks whether the user is there.
    pub poll_interval: Duration,
    /// What happens when its TTL ends before the user came.
    pub on_expiry: OnExpiry,
    /// How long an acknowledgement may take before the notification is pushed again. Doubles with each repeat
    /// to the same connections.
    pub ack_timeout: Duration,
    /// How many of a user's notifications may wait at once while the user is absent or does not read; from 1 to
    /// [`Rule::MOST_PER_USER`]. What is in flight does not count, and nothing gives way while the user reads
    /// ([`Presence::is_reading`](doorstep_domain::ports::Presence::is_reading)).
    pub max_per_user: usize,
    /// What gives way when that many wait.
    pub overflow: Overflow,
    /// How many of a kind may wait on this node at once, beside [`Limits::max_pending`] for all kinds together.
    /// Counts in the rule of a kind, not in the default.
    pub max_pending: usize,
    /// The same of their payloads in bytes, beside [`Limits::max_pending_bytes`].
    pub max_pending_bytes: usize,
}

impl Rule {
    /// The largest `max_per_user`. A larger one is taken as this.
    pub const MOST_PER_USER: usize = 60_000;
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            policy: Policy::Deferred(Strategy::Wake),
            ttl: Ttl::from_secs(60),
            poll_interval: Duration::from_millis(500),
            on_expiry: OnExpiry::Drop,
            ack_timeout: Duration::from_secs(10),
            max_per_user: 100,
            overflow: Overflow::DropOldest,
            max_pending: usize::MAX,
            max_pending_bytes: usize::MAX,
        }
    }
}

/// What is done with a notification for an absent user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Now or never: the bug, kept so that it can be shown.
    Immediate,
    /// It waits in memory until its TTL ends.
    Deferred(Strategy),
    /// It is written to the inbox first, and kept unread until the user reads it.
    Inbox,
}

/// How a deferred notification learns that its user has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// The arrival itself flushes the user's mailbox.
    Wake,
    /// A task a notification looks every [`Rule::poll_interval`]: the honest original.
    Poll,
}

/// What happens to a deferred notification whose TTL ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnExpiry {
    /// It ends as `expired`.
    Drop,
    /// It is written to the inbox and ends, for the mailbox, as `promoted`.
    Inbox,
}

/// What gives way when a mailbox is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Overflow {
    /// The oldest makes room; it ends as `dropped`.
    DropOldest,
    /// The new one is `rejected`, and the sender is told.
    Reject,
}

/// How much may wait on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Notifications; beyond it new ones are `rejected`.
    pub max_pending: usize,
    /// Bytes of payload; beyond it new ones are `rejected`.
    pub max_pending_bytes: usize,
    /// How long one push may take before it counts as failed.
    pub push_timeout: Duration,
    /// How soon a failed push is tried again while the user may be there.
    pub push_retry: Duration,
    /// How long the inbox may take to answer before an arriving user gets what waits in memory first.
    pub inbox_patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_pending: 1_000_000,
            max_pending_bytes: 512 * 1024 * 1024,
            push_timeout: Duration::from_secs(10),
            push_retry: Duration::from_secs(1),
            inbox_patience: Duration::from_secs(2),
        }
    }
}
