use async_trait::async_trait;

use crate::UserId;

/// Whether a user has at least one live connection.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait Presence: Send + Sync {
    /// Returns whether a push to this user would, as far as is known now, find a connection.
    ///
    /// The answer may be stale by the time it is read; delivery only uses it to decide whether to try.
    /// What must hold: **a connection that `arrived` was called for is seen here from before that call
    /// on**, until it ends. An implementation that cannot know returns `true` and lets the push find out.
    async fn is_online(&self, user: &UserId) -> bool;

    /// Returns whether at least one connection of this user still takes what is pushed: its socket took a
    /// byte within the last 5 seconds, or nothing waits for its socket.
    ///
    /// Delivery asks this only when the user's mailbox is full. While it returns `true` nothing is evicted
    /// from that mailbox, so that a burst of any size reaches a user who reads. The default says that every
    /// user who is online reads; an implementation that knows its sockets should know better, because a
    /// client that has stopped reading is bounded only by the limits of the node otherwise.
    async fn is_reading(&self, user: &UserId) -> bool {
        self.is_online(user).await
    }
}
