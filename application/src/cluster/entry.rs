use std::sync::Arc;
use std::time::Duration;

use doorstep_domain::ports::RetractReason;
use doorstep_domain::{
    Kind, LogKey, Notification, NotificationId, Outcome, Timestamp, TokenHash, TraceParent, UserId,
};

use super::wire;

/// One run of a node: random, new at each start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 16]);

/// What an entry of the log says. The id of the notification is the entry's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterEntry {
    /// A node has accepted a notification.
    Accepted {
        /// The notification, with its TTL set.
        notification: Notification,
        /// The node.
        origin: NodeId,
        /// How old it was when it was accepted: its TTL counts from that long before the entry's time.
        age: Duration,
        /// It is offered once, to whoever is there when it is accepted (the policy `immediate`, or a TTL of 0).
        now_or_never: bool,
    },
    /// Its TTL has ended, and it is being written to the inbox.
    Promoting {
        /// The notification.
        notification: Notification,
        /// The node that writes it.
        by: NodeId,
    },
    /// It has ended.
    Ended {
        /// How; `None`: in a way that a newer version knows.
        outcome: Option<Outcome>,
        /// The node that tells it.
        by: NodeId,
        /// Its user.
        user: UserId,
        /// Its kind.
        kind: Kind,
        /// When it was created, as time of day.
        created_at: Timestamp,
        /// The trace that it belongs to.
        trace: Option<TraceParent>,
    },
    /// A node wants to see that it has read up to here.
    Barrier {
        /// The node.
        by: NodeId,
    },
    /// A session has ended.
    SignedOut {
        /// Its user.
        user: UserId,
        /// Its token.
        token: TokenHash,
    },
    /// A backend closes the user's connections.
    Disconnect {
        /// The user.
        user: UserId,
    },
    /// There is something new in a user's inbox.
    Look {
        /// The user.
        user: UserId,
    },
    /// Connections take away what they may show.
    Retract {
        /// The user.
        user: UserId,
        /// The notification.
        id: NotificationId,
        /// Why; `None`: for a reason that a newer version knows.
        reason: Option<RetractReason>,
    },
}

/// Why an entry says nothing to this version. It is counted and skipped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A newer version wrote it.
    #[error("a newer version wrote it")]
    Newer,
    /// It is not one of ours.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
}

impl ClusterEntry {
    /// Writes it.
    pub fn encode(&self) -> Arc<[u8]> {
        wire::encode(self)
    }

    /// Reads the entry of this key.
    pub fn decode(key: LogKey, bytes: &[u8]) -> Result<Self, Unreadable> {
        wire::decode(key, bytes)
    }
}
