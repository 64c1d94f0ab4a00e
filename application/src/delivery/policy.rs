use std::collections::HashMap;
use std::time::Duration;

use doorstep_domain::{Kind, Ttl};

/// The rule for each kind of notification.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// For every kind without a rule of its own.
    pub default: Rule,
    /// The kinds that have their own rule.
    pub kinds: HashMap<Kind, Rule>,
}

impl Rules {
    /// The rule for a kind.
    pub fn of(&self, kind: &Kind) -> &Rule {
        self.kinds.get(kind).unwrap_or(&self.default)
    }

    /// Whether any rule has the strategy [`Strategy::Poll`].
    pub fn poll(&self) -> bool {
        let mut all = self.kinds.values().chain([&self.default]);
        all.any(|rule| rule.policy == Policy::Deferred(Strategy::Poll))
    }

    /// Whether any rule writes to the inbox.
    pub fn use_inbox(&self) -> bool {
        let mut all = self.kinds.values().chain([&self.default]);
        all.any(|rule| rule.policy == Policy::Inbox || rule.on_expiry == OnExpiry::Inbox)
    }
}

/// What happens to notifications of a kind whose user is not there.
///
/// Its `Default` is in `defaults.rs`, like that of [`Limits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Drop the notification, keep it for a while, or keep it for good.
    pub policy: Policy,
    /// How long it may wait, unless the notification has its own TTL.
    pub ttl: Ttl,
    /// How often [`Strategy::Poll`] checks whether the user is there.
    pub poll_interval: Duration,
    /// What happens when the TTL ends before the user arrives.
    pub on_expiry: OnExpiry,
    /// How long an acknowledgement may take before the notification is pushed again. Doubles with each repeat
    /// to the same connections.
    pub ack_timeout: Duration,
    /// How many of a user's notifications may wait at once while the user is absent or does not read; from 1 to
    /// [`Rule::MOST_PER_USER`]. Notifications in flight do not count, and none is dropped while the user reads
    /// ([`Presence::is_reading`](doorstep_domain::ports::Presence::is_reading)).
    pub max_per_user: usize,
    /// Which notification is given up when that many wait.
    pub overflow: Overflow,
    /// How many notifications of the kind may wait on this node at once, in addition to
    /// [`Limits::max_pending`] for all kinds together. Ignored in [`Rules::default`](Rules#structfield.default).
    pub max_pending: usize,
    /// The same limit for their payloads, in bytes, in addition to [`Limits::max_pending_bytes`].
    pub max_pending_bytes: usize,
}

impl Rule {
    /// The largest `max_per_user`; a larger value counts as this one.
    pub const MOST_PER_USER: usize = 60_000;
}

/// What is done with a notification for an absent user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Policy {
    /// It is pushed now or expires: the original bug, kept for demonstration.
    Immediate,
    /// It waits in memory until its TTL ends.
    Deferred(Strategy),
    /// It is written to the inbox first, and kept unread until the user reads it.
    Inbox,
}

impl Policy {
    /// The word in configurations and stories.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Immediate => "immediate",
            Self::Deferred(_) => "deferred",
            Self::Inbox => "inbox",
        }
    }
}

/// How delivery learns that the user of a deferred notification has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// The arrival itself flushes the user's mailbox.
    Wake,
    /// One task per notification checks every [`Rule::poll_interval`]: the original solution.
    Poll,
}

/// What happens to a deferred notification whose TTL ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnExpiry {
    /// It ends as `expired`.
    Drop,
    /// It is written to the inbox and leaves the mailbox as `promoted`.
    Inbox,
}

/// Which notification is given up when a mailbox is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Overflow {
    /// The oldest ends as `dropped`.
    DropOldest,
    /// The new one is `rejected`, and the sender is told.
    Reject,
}

/// The limits of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many notifications may wait; above it, new ones are `rejected`.
    pub max_pending: usize,
    /// How many bytes of payload may wait; above it, new ones are `rejected`.
    pub max_pending_bytes: usize,
    /// How long one push may take before it counts as failed.
    pub push_timeout: Duration,
    /// How soon a failed push is repeated while the user may be there.
    pub push_retry: Duration,
    /// How long an arriving user waits for the inbox; after that, notifications in memory are pushed first.
    pub inbox_patience: Duration,
}
