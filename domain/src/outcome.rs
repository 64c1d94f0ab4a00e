use std::fmt;
use std::time::Duration;

use crate::{Kind, NotificationId, Timestamp, UserId};

/// How a notification ended. Every accepted one ends in exactly one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Written to a socket that does not acknowledge, or acknowledged by one that does.
    Delivered,
    /// Its TTL ended first (for TTL 0: nobody was there).
    Expired,
    /// Its TTL ended first, and it went to the inbox.
    Promoted,
    /// A newer one of the same topic took its place.
    Replaced,
    /// It was the oldest in a full mailbox, or the node stopped and could not hand it over.
    Dropped,
    /// A full mailbox or a full node did not take it.
    Rejected,
    /// Its sender took it back.
    Recalled,
}

impl Outcome {
    /// All of them, for tables and counters.
    pub const ALL: [Self; 7] = [
        Self::Delivered,
        Self::Expired,
        Self::Promoted,
        Self::Replaced,
        Self::Dropped,
        Self::Rejected,
        Self::Recalled,
    ];

    /// The word used in logs, metrics and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Expired => "expired",
            Self::Promoted => "promoted",
            Self::Replaced => "replaced",
            Self::Dropped => "dropped",
            Self::Rejected => "rejected",
            Self::Recalled => "recalled",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The end of one notification: which, whose, how and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Which notification.
    pub id: NotificationId,
    /// Whose.
    pub user_id: UserId,
    /// Of which kind.
    pub kind: Kind,
    /// How it ended.
    pub outcome: Outcome,
    /// When it ended.
    pub at: Timestamp,
    /// How long after its creation that was.
    pub waited: Duration,
}
