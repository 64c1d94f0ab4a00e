use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::{NotificationId, Timestamp};

/// The place of an entry in the log. Sequences grow, and need not be contiguous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

/// What an entry is about. The log keeps the newest entry of each key: a newer one takes the place of the older.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogKey {
    /// A notification.
    Notification(NotificationId),
    /// Something that happens once and concerns only those who read at that time, such as a barrier or a sign-out. The
    /// id is new for each.
    Passing(Uuid),
}

impl LogKey {
    /// The key of something passing whose id has these bytes.
    pub const fn passing(id: [u8; 16]) -> Self {
        Self::Passing(Uuid::from_bytes(id))
    }

    /// The bytes of the id, if it is that of something passing.
    pub const fn passing_id(&self) -> Option<[u8; 16]> {
        match self {
            Self::Passing(id) => Some(*id.as_bytes()),
            Self::Notification(_) => None,
        }
    }
}

impl fmt::Display for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Notification(id) => write!(f, "notification {id}"),
            Self::Passing(id) => write!(f, "passing {id}"),
        }
    }
}

/// The condition of an append: what the last entry of its key must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Expecting {
    /// The key has no entry: it never had one, or the log no longer keeps it.
    Nothing,
    /// The key's last entry is the one with this sequence.
    Sequence(Sequence),
}

/// An entry to be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// What it is about.
    pub key: LogKey,
    /// The condition.
    pub expecting: Expecting,
    /// The content. The log does not look into it.
    pub bytes: Arc<[u8]>,
    /// How long the log keeps it; `None`: until a newer entry of its key takes its place. The log may keep it for up to
    /// two seconds longer.
    pub kept: Option<Duration>,
}

/// What is known about an append.
///
/// **It is no more than knowledge.** What the log holds is what is read back from it: only [`Won`](Self::Won) is final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// It is in the log at this place, for as long as the log keeps it, and survives what the log survives.
    Won(Sequence),
    /// The condition did not hold, or another append of the same key was under way. The other may still fail: this is no
    /// proof that the key has a newer entry.
    Lost,
    /// There was no answer in time. It may be in the log, or may enter it later, even much later.
    Unknown,
    /// It was not attempted, or the log refused it for a reason that is not the condition.
    Refused(AppendRefusal),
}

/// Why an append was refused, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendRefusal {
    /// It can never be appended.
    #[error("{bytes} bytes are too many for the log, which takes {most}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The largest size.
        most: usize,
    },
    /// The log is full: it accepts more when entries have ended, or when an operator has raised the limit that the text
    /// names. Entries that replace another of the same key may be refused as well.
    #[error("the log is full: {0}")]
    Full(String),
    /// The log cannot be reached, or does not exist. The same append may succeed later.
    #[error("the log is away: {0}")]
    Away(String),
}

/// An entry as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Its place.
    pub sequence: Sequence,
    /// What it is about.
    pub key: LogKey,
    /// When it was appended, by the log's clock.
    pub time: Timestamp,
    /// The content.
    pub bytes: Arc<[u8]>,
}

/// Where to begin to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReadFrom {
    /// At the first entry that the log still has.
    Start,
    /// Behind this one. It must have been read, or won, since the last [`LogEvent::Reset`].
    After(Sequence),
}

/// What a reader of the log sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogEvent {
    /// The next entry.
    Entry(LogEntry),
    /// Nothing is read from now on, for this reason, until [`Resumed`](Self::Resumed) or [`Reset`](Self::Reset). Comes
    /// again when the reason changes.
    CutOff(String),
    /// The log is read again, from the entry behind the last: nothing is missing and nothing comes twice.
    Resumed,
    /// The log is not what it was: it was lost, replaced, or restored from a backup. **Forget everything that was read
    /// from it.** What follows is the log from its start.
    Reset,
}
