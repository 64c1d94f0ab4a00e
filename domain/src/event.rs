use std::num::NonZeroU64;

use crate::{Ended, EntryKind, Money, Position, Timestamp, User, UserId};

/// Something that has happened and cannot be undone. Raised after the commit that made it true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DomainEvent {
    /// A user exists.
    UserRegistered {
        /// The user.
        user: User,
    },
    /// A reward is on the ledger.
    RewardGranted {
        /// Whose.
        user_id: UserId,
        /// For what.
        reward: EntryKind,
        /// How much.
        amount: Money,
        /// The fact that earned it, as on the ledger.
        reference: String,
        /// When.
        at: Timestamp,
    },
    /// An order was filled, its cost reserved.
    PositionOpened {
        /// The position.
        position: Box<Position>,
    },
    /// A position is closed and settled.
    PositionClosed {
        /// The position, with how it was closed.
        position: Box<Position>,
        /// The how many-th position of this user to be closed it is.
        number: NonZeroU64,
    },
    /// A notification came to its end.
    NotificationEnded(Ended),
}

impl DomainEvent {
    /// The event's name, for logs and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::UserRegistered { .. } => "UserRegistered",
            Self::RewardGranted { .. } => "RewardGranted",
            Self::PositionOpened { .. } => "PositionOpened",
            Self::PositionClosed { .. } => "PositionClosed",
            Self::NotificationEnded(_) => "NotificationEnded",
        }
    }
}
