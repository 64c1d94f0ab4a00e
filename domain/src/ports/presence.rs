use async_trait::async_trait;

use crate::UserId;

/// Whether a user has at least one live connection.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait Presence: Send + Sync {
    /// Returns whether a push to this user would find a connection, as far as is known now.
    ///
    /// The result may be stale when it is read; delivery only uses it to decide whether to try. **A connection must
    /// be visible here before `arrived` is called for it**, and until it ends. An implementation that cannot know
    /// returns `true` and lets the push find out.
    async fn is_online(&self, user: &UserId) -> bool;

    /// Returns whether at least one connection of this user still reads: its socket took a byte within the last
    /// 5 seconds, or nothing waits for its socket.
    ///
    /// Delivery calls this only when the user's mailbox is full. While it returns `true`, nothing is evicted from
    /// that mailbox, so that a burst of any size reaches a user who reads. By default, every user who is online
    /// counts as reading. An implementation that knows its sockets should override this: otherwise only the limits
    /// of the node bound a client that has stopped reading.
    async fn is_reading(&self, user: &UserId) -> bool {
        self.is_online(user).await
    }
}
