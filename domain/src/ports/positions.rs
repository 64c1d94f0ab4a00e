use std::num::{NonZeroU64, NonZeroUsize};
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::{EarnedBy, EntryId, EntryKind, Position, PositionId, Timestamp, UserId};

/// Positions, with the ledger entries that reserve and settle them.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait Positions: Send + Sync {
    /// Keeps an open position and reserves its cost ([`Position::reservation`]): both or neither. The user
    /// must exist, else the store is [`StoreError::Corrupt`].
    ///
    /// With a key that this user used no longer than [`IdempotencyKey::KEPT`] before, nothing changes, and
    /// the answer is the position of then. However many come with one key at once, one opens.
    async fn open(&self, opening: &Opening) -> Result<Open, OpenError>;

    /// The position that this user opened with this key, no longer than [`IdempotencyKey::KEPT`] before `now`.
    async fn opened_with(
        &self,
        user: &UserId,
        key: &IdempotencyKey,
        now: Timestamp,
    ) -> Result<Option<Position>, StoreError>;

    /// Keeps how a position was closed and settles it ([`Position::settlement`], under the given id): both or
    /// neither, and only if it is still open. However many close it at once, one does.
    async fn close(&self, closed: &Position, entry: EntryId) -> Result<Close, StoreError>;

    /// The user's position with this id.
    async fn find(&self, user: &UserId, id: PositionId) -> Result<Option<Position>, StoreError>;

    /// The user's positions, opened last first: at most `limit`, of this status if one is given, those
    /// opened before the position `before` if it is given. An unknown `before` answers nothing.
    async fn page(
        &self,
        user: &UserId,
        status: Option<Status>,
        before: Option<PositionId>,
        limit: usize,
    ) -> Result<Vec<Position>, StoreError>;

    /// Everybody's open positions in the order of their ids, those after `after`: at most `limit`.
    async fn all_open(
        &self,
        after: Option<PositionId>,
        limit: usize,
    ) -> Result<Vec<Position>, StoreError>;

    /// At most `limit` closed positions that earned a reward and have no ledger entry of this kind: what a
    /// crash cut off.
    async fn closed_without(
        &self,
        reward: EntryKind,
        earned_by: EarnedBy,
        limit: usize,
    ) -> Result<Vec<(UserId, PositionId)>, StoreError>;
}

/// A position that is about to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The position, open.
    pub position: Position,
    /// The name of the ledger entry that reserves its cost.
    pub entry: EntryId,
    /// What keeps it from being opened twice, if the client sent such a thing.
    pub key: Option<IdempotencyKey>,
    /// How many the user may have open, this one included.
    pub max_open: NonZeroUsize,
}

/// Which positions are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Those that still gain and lose.
    Open,
    /// Those that are settled.
    Closed,
}

/// What became of an opening.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Open {
    /// It is kept, and its cost reserved.
    Opened,
    /// The key was used before, for this position; nothing changed.
    Before(Box<Position>),
}

/// Why a position was not opened. Nothing changed, unless the store says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The cost is more than the balance.
    #[error("the balance does not cover the cost")]
    NotEnough,
    /// The user has as many open positions as they may.
    #[error("there are as many open positions as there may be")]
    TooMany,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What became of a closing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// It is closed and settled now, as the so many-th of its user.
    Closed(NonZeroU64),
    /// It was closed already; nothing changed.
    AlreadyClosed,
}

/// What a client sends along so that sending an order again does not open a second position: 1 to 128
/// printable ASCII characters, kept for 24 hours.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

/// The string is not an [`IdempotencyKey`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key is 1 to 128 printable ASCII characters")]
pub struct IdempotencyKeyError;

impl IdempotencyKey {
    /// For so long a key is remembered.
    pub const KEPT: Duration = Duration::from_hours(24);
    /// The longest, in bytes.
    pub const MAX_BYTES: usize = 128;

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IdempotencyKey {
    type Err = IdempotencyKeyError;

    fn from_str(text: &str) -> Result<Self, IdempotencyKeyError> {
        let fits = (1..=Self::MAX_BYTES).contains(&text.len());
        if fits && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdempotencyKeyError)
        }
    }
}
