use std::fmt;
use std::time::Duration;

use crate::{Kind, NotificationId, Timestamp, TraceParent, UserId};

/// How a notification ended. **Every accepted notification ends with exactly one outcome.**
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A client acknowledged it, or it was written to a client that does not acknowledge.
    Delivered,
    /// Its TTL ended first (with a TTL of 0: the user was not there).
    Expired,
    /// Its TTL ended first, and it was written to the inbox.
    Promoted,
    /// A newer notification of the same topic replaced it.
    Replaced,
    /// It was the oldest in a full mailbox, or the node stopped and could not hand it over.
    Dropped,
    /// The mailbox or the node was full.
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

/// The end of one notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The notification's id.
    pub id: NotificationId,
    /// Its user.
    pub user_id: UserId,
    /// Its kind.
    pub kind: Kind,
    /// How it ended.
    pub outcome: Outcome,
    /// When it ended, as time of day.
    pub at: Timestamp,
    /// The time between its creation and its end.
    pub waited: Duration,
    /// The trace that it belongs to.
    pub trace: Option<TraceParent>,
}
