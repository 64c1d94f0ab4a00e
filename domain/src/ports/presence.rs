use async_trait::async_trait;

use crate::UserId;

/// Who is there: whether a user has at least one live connection.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait Presence: Send + Sync {
    /// Whether a push to this user would, as far as is known now, find a connection.
    ///
    /// The answer may be stale by the time it is read: nothing rests on it but the decision whether to try.
    /// What must hold: **a connection that `arrived` was called for is seen here from before that call
    /// on**, until it ends. An implementation that cannot know answers `true` and lets the push find out.
    async fn is_online(&self, user: &UserId) -> bool;
}
