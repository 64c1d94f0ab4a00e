use async_trait::async_trait;

use super::StoreError;
use crate::{Session, Timestamp, TokenHash};

/// Who is signed in.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait Sessions: Send + Sync {
    /// Keeps a new session. Its user must exist.
    async fn open(&self, session: &Session) -> Result<(), StoreError>;

    /// The session with this token that has not expired at `now`.
    async fn find(&self, token: &TokenHash, now: Timestamp) -> Result<Option<Session>, StoreError>;

    /// Ends the session; ending what is not there is no error.
    async fn close(&self, token: &TokenHash) -> Result<(), StoreError>;

    /// Forgets sessions that had expired by `now`; says how many.
    async fn purge(&self, now: Timestamp) -> Result<u64, StoreError>;
}
