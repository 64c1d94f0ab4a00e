use std::num::NonZeroU64;

use crate::{Ended, EntryKind, Money, Position, Timestamp, User, UserId};

/// What a bus carries: something that has happened and cannot be undone. [`DomainEvent`] is ours; a program of your own has
/// its own, and the ports and the bus are generic over it.
pub trait Event: Send + Sync + 'static {
    /// The event's name, for logs. By default that of its type.
    fn name(&self) -> &'static str {
        std::any::type_name::<Self>()
    }
}

/// Something that has happened and cannot be undone. Raised after the commit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DomainEvent {
    /// A user has registered.
    UserRegistered {
        /// The user.
        user: User,
    },
    /// A reward is on the ledger.
    RewardGranted {
        /// The user who earned it.
        user_id: UserId,
        /// Which reward.
        reward: EntryKind,
        /// The amount.
        amount: Money,
        /// The fact that earned it, as on the ledger.
        reference: String,
        /// When it was granted.
        at: Timestamp,
    },
    /// An order was filled and its cost reserved.
    PositionOpened {
        /// The position.
        position: Box<Position>,
    },
    /// A position is closed and settled.
    PositionClosed {
        /// The closed position.
        position: Box<Position>,
        /// How many positions this user has closed, including this one.
        number: NonZeroU64,
    },
    /// A notification has ended.
    NotificationEnded(Ended),
}

impl Event for DomainEvent {
    fn name(&self) -> &'static str {
        self.name()
    }
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
