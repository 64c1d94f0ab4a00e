use std::fmt;
use std::time::Duration;

use crate::{Kind, NotificationId, Timestamp, TraceParent, UserId};

words! {
    /// How a notification ended. **Every accepted notification ends with exactly one outcome.**
    #[non_exhaustive]
    Outcome,
    /// A client acknowledged it, or it was written to a client that does not acknowledge.
    Delivered = "delivered",
    /// Its TTL ended first (with a TTL of 0: the user was not there).
    Expired = "expired",
    /// Its TTL ended first, and it was written to the inbox.
    Promoted = "promoted",
    /// A newer notification of the same topic replaced it.
    Replaced = "replaced",
    /// It was the oldest in a full mailbox, or the node stopped and could not hand it over.
    Dropped = "dropped",
    /// The mailbox or the node was full.
    Rejected = "rejected",
    /// Its sender took it back.
    Recalled = "recalled",
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
