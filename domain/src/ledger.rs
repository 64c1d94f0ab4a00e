use std::fmt;

use uuid::Uuid;

use crate::{Money, Timestamp, UserId};

/// One line of the append-only ledger. The balance is the sum of a user's lines, always.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerEntry {
    /// The line's name.
    pub id: EntryId,
    /// Whose account.
    pub user_id: UserId,
    /// Why.
    pub kind: EntryKind,
    /// How much; negative takes.
    pub amount: Money,
    /// The fact behind it (for a welcome gift the user, for a position the position). There is one line a
    /// user, kind and reference: this is what makes every grant exactly-once.
    pub reference: String,
    /// When.
    pub created_at: Timestamp,
}

/// The name of one ledger entry.
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

/// Why money moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// The welcome gift of a new user; references the user.
    WelcomeGift,
    /// The reward for the first position that a user closed; references the position.
    FirstClose,
    /// The reward for every so many positions that a user closed; references the last of them.
    CloseMilestone,
    /// The cost of a position is reserved; references the position.
    PositionOpened,
    /// The cost of a position is paid back, with what it gained or lost; references the position.
    PositionClosed,
}

impl EntryKind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::WelcomeGift,
        Self::FirstClose,
        Self::CloseMilestone,
        Self::PositionOpened,
        Self::PositionClosed,
    ];

    /// The word used in the store and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WelcomeGift => "welcome_gift",
            Self::FirstClose => "first_close",
            Self::CloseMilestone => "close_milestone",
            Self::PositionOpened => "position_opened",
            Self::PositionClosed => "position_closed",
        }
    }

    /// Whether it is money out of nowhere, given for something.
    pub const fn is_reward(self) -> bool {
        matches!(self, Self::WelcomeGift | Self::FirstClose | Self::CloseMilestone)
    }

    /// The kind with that word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}
