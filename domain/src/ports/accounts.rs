use async_trait::async_trait;

use super::StoreError;
use crate::{EntryId, EntryKind, LedgerEntry, Money, NewUser, Session, User, UserId, Username};

/// Users, their balances and the append-only ledger behind them. **Every write is durable when its call returns.**
///
/// Their [`Sessions`](super::Sessions) are in the same database: registering writes both in one transaction, because a user
/// without a session would not know that the name is theirs.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait Accounts: Send + Sync {
    /// Creates the user, with a balance of zero, and their first session: both or neither. An id or a token that exists
    /// already is [`StoreError::Corrupt`]. **Of any number of concurrent calls with one name, one succeeds.**
    async fn register(&self, user: &NewUser, session: &Session) -> Result<(), RegisterError>;

    /// Returns the user with this id.
    async fn user(&self, id: &UserId) -> Result<Option<User>, StoreError>;

    /// Returns the user with this name, without regard to case, and their password's hash.
    async fn by_username(&self, name: &Username) -> Result<Option<NewUser>, StoreError>;

    /// Writes the entry and changes the balance: both or neither, and at most once per user, kind and reference,
    /// whatever the amount. If the user does not exist, or if the balance would fall below zero or be out of range,
    /// returns [`StoreError::Corrupt`] and changes nothing.
    async fn grant(&self, entry: &LedgerEntry) -> Result<Grant, StoreError>;

    /// Writes several entries, those of one user in this order: all of them or none. Returns what [`grant`](Self::grant) would return for
    /// each. At most 1,000 at a time.
    async fn grant_all(&self, entries: &[LedgerEntry]) -> Result<Vec<Grant>, StoreError>;

    /// Returns the user's balance; `None` if there is no such user.
    async fn balance(&self, id: &UserId) -> Result<Option<Money>, StoreError>;

    /// Returns the user's entries, newest first: at most `limit`, and only those before the entry `before`, if it
    /// is given. Returns nothing for an unknown `before`.
    async fn entries(
        &self,
        id: &UserId,
        before: Option<EntryId>,
        limit: usize,
    ) -> Result<Vec<LedgerEntry>, StoreError>;

    /// Returns at most `limit` users without an entry of the given kind, oldest first: those whose reward a crash
    /// prevented.
    async fn users_without(&self, kind: EntryKind, limit: usize)
    -> Result<Vec<UserId>, StoreError>;
}

/// The result of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Grant {
    /// It is on the ledger now.
    Granted,
    /// It was there already; nothing changed.
    AlreadyGranted,
}

/// Why a user was not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// Another user has this name, without regard to case.
    #[error("the username is taken")]
    UsernameTaken,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
