use std::fmt;

use uuid::Uuid;

use crate::{Money, Timestamp, UserId};

/// One entry of the append-only ledger. **A user's balance is always the sum of their entries.**
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerEntry {
    /// The entry's id.
    pub id: EntryId,
    /// The user whose account it is.
    pub user_id: UserId,
    /// Why money moved.
    pub kind: EntryKind,
    /// The amount; negative if it leaves the account.
    pub amount: Money,
    /// The fact behind it: the user for a welcome gift, the position for a position. There is at most one entry per
    /// user, kind and reference, which makes every grant exactly-once.
    pub reference: String,
    /// When it was written.
    pub created_at: Timestamp,
}

/// The id of a ledger entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId(Uuid);

impl EntryId {
    /// Wraps a UUID.
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The UUID inside.
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

words! {
    /// Why money moved.
    EntryKind,
    /// The welcome gift of a new user; references the user.
    WelcomeGift = "welcome_gift",
    /// The reward for the first position that a user closed; references the position.
    FirstClose = "first_close",
    /// The reward for every n-th position that a user closed; references that position.
    CloseMilestone = "close_milestone",
    /// The cost of a position is reserved; references the position.
    PositionOpened = "position_opened",
    /// The cost of a position is paid back, plus its gain or minus its loss; references the position.
    PositionClosed = "position_closed",
}

impl EntryKind {
    /// Whether it is a reward: money that no other entry pays for.
    pub const fn is_reward(self) -> bool {
        matches!(self, Self::WelcomeGift | Self::FirstClose | Self::CloseMilestone)
    }
}
