use async_trait::async_trait;

use super::StoreError;
use crate::{EntryId, EntryKind, LedgerEntry, Money, NewUser, Session, User, UserId, Username};

/// Users, their balances and the append-only ledger behind them.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait Accounts: Send + Sync {
    /// Makes the user, with a balance of zero, and their first session: both or neither.
    async fn register(&self, user: &NewUser, session: &Session) -> Result<(), RegisterError>;

    /// The user with this id.
    async fn user(&self, id: &UserId) -> Result<Option<User>, StoreError>;

    /// The user who signs in with this name, in any spelling, with their password's hash.
    async fn by_username(&self, name: &Username) -> Result<Option<NewUser>, StoreError>;

    /// Writes the entry and changes the balance: both or neither, and at most once for a user, kind and
    /// reference. The user must exist, else the store is [`StoreError::Corrupt`].
    async fn grant(&self, entry: &LedgerEntry) -> Result<Grant, StoreError>;

    /// The user's balance; `None` when there is no such user.
    async fn balance(&self, id: &UserId) -> Result<Option<Money>, StoreError>;

    /// The user's entries, newest first: at most `limit`, those before the entry `before` if it is given.
    /// An unknown `before` answers nothing.
    async fn entries(
        &self,
        id: &UserId,
        before: Option<EntryId>,
        limit: usize,
    ) -> Result<Vec<LedgerEntry>, StoreError>;

    /// At most `limit` users who have no entry of the given kind, oldest first: what a crash cut off.
    async fn users_without(&self, kind: EntryKind, limit: usize)
    -> Result<Vec<UserId>, StoreError>;
}

/// What became of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Grant {
    /// It is on the ledger now.
    Granted,
    /// It was there already; nothing changed.
    AlreadyGranted,
}

/// Why a user was not made.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// Somebody has that name, in some spelling.
    #[error("the username is taken")]
    UsernameTaken,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
