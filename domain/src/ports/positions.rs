use std::num::{NonZeroU64, NonZeroUsize};
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;

use super::{HeldLease, StoreError};
use crate::{EarnedBy, EntryId, EntryKind, Position, PositionId, Timestamp, UserId};

/// Positions, with the ledger entries that reserve and settle them. **Every write is durable when its call returns.**
///
/// They are in the database of [`Accounts`](super::Accounts): opening and closing write both in one transaction, because
/// money must not be reserved without a position, nor a position be settled twice.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait Positions: Send + Sync {
    /// Stores an open position and reserves its cost ([`Position::reservation`]): both or neither. If the user does
    /// not exist, returns [`StoreError::Corrupt`].
    ///
    /// If this user used the key within the last [`IdempotencyKey::KEPT`], changes nothing and returns the position
    /// of that time, open or closed. An opening that was refused does not use its key. **Of any number of concurrent
    /// calls with one key, one opens.**
    async fn open(&self, opening: &Opening) -> Result<Open, OpenError>;

    /// Returns the position that this user opened with this key within the last [`IdempotencyKey::KEPT`].
    async fn opened_with(
        &self,
        user: &UserId,
        key: &IdempotencyKey,
        now: Timestamp,
    ) -> Result<Option<Position>, StoreError>;

    /// Stores how a position was closed and settles it ([`Position::settlement`], with the given id): both or
    /// neither, and only if it is still open. **Of any number of concurrent calls, one closes it.**
    async fn close(&self, closed: &Position, entry: EntryId) -> Result<Close, StoreError>;

    /// Closes several, each as [`close`](Self::close) would alone: all of them, or none if this fails. Returns the results
    /// in the same order. At most 1,000 at a time.
    ///
    /// With a lease, which is in the same store: only while it is held, else nothing changes and every result is
    /// [`Close::LeaseLost`].
    async fn close_all(
        &self,
        closings: &[Closing],
        lease: Option<HeldLease>,
    ) -> Result<Vec<Close>, StoreError>;

    /// Returns the user's position with this id.
    async fn find(&self, user: &UserId, id: PositionId) -> Result<Option<Position>, StoreError>;

    /// Returns the user's positions, newest first: at most `limit`, of this status if one is given, and only those
    /// opened before the position `before`, if it is given. Returns nothing if `before` is unknown or another user's.
    async fn page(
        &self,
        user: &UserId,
        status: Option<Status>,
        before: Option<PositionId>,
        limit: usize,
    ) -> Result<Vec<Position>, StoreError>;

    /// Returns the open positions of all users in the order of their ids, those after `after`: at most `limit`.
    async fn all_open(
        &self,
        after: Option<PositionId>,
        limit: usize,
    ) -> Result<Vec<Position>, StoreError>;

    /// Returns at most `limit` closed positions that earned a reward and have no ledger entry of this kind, oldest
    /// first: those whose reward a crash prevented. A registration is earned by no position.
    async fn closed_without(
        &self,
        reward: EntryKind,
        earned_by: EarnedBy,
        limit: usize,
    ) -> Result<Vec<(UserId, PositionId)>, StoreError>;
}

/// A position to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The open position.
    pub position: Position,
    /// The id of the ledger entry that reserves its cost.
    pub entry: EntryId,
    /// The client's key, if it sent one, which prevents a second opening.
    pub key: Option<IdempotencyKey>,
    /// How many positions the user may have open, including this one.
    pub max_open: NonZeroUsize,
}

/// A position to be closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// The position, closed.
    pub position: Position,
    /// The id of the ledger entry that settles it.
    pub entry: EntryId,
}

/// The status of a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Open: it still gains and loses.
    Open,
    /// Closed and settled.
    Closed,
}

/// The result of [`Positions::open`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Open {
    /// It is stored, and its cost reserved.
    Opened,
    /// The key was used before, for this position; nothing changed.
    Before(Box<Position>),
}

/// Why a position was not opened. Nothing changed, except perhaps after a store error.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The cost is more than the balance.
    #[error("the balance does not cover the cost")]
    NotEnough,
    /// The user has the maximum number of open positions.
    #[error("the user has the maximum number of open positions")]
    TooMany,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The result of closing a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// It is closed and settled now. The number of positions that its user has closed, including this one.
    Closed(NonZeroU64),
    /// It was closed already, or its user has no such position; nothing changed.
    AlreadyClosed,
    /// Somebody else holds the lease by now; nothing changed.
    LeaseLost,
}

/// A client's key, with which a repeated order does not open a second position: 1 to 128 printable ASCII
/// characters, kept for 24 hours.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

/// The string is not an [`IdempotencyKey`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key is 1 to 128 printable ASCII characters")]
pub struct IdempotencyKeyError;

impl IdempotencyKey {
    /// How long a key is kept.
    pub const KEPT: Duration = Duration::from_hours(24);
    /// The maximum length, in bytes.
    pub const MAX_BYTES: usize = 128;

    /// The text.
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
