use std::num::NonZeroU16;

use async_trait::async_trait;

use crate::{Notification, NotificationId, Timestamp, UserId};

/// Hands notifications to live connections.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait Pusher: Send + Sync {
    /// Hands one notification to all live connections of its user and says what it knows of it.
    ///
    /// * A connection that was handed this id in this very `attempt` is not handed it again, but still
    ///   counts: its acknowledgement is still to come. A higher attempt is handed to everyone again.
    /// * Calls for one user come one at a time; the connection must show them in the order of the calls.
    /// * `deadline` is the moment at which the notification ends; a frame that is still in a queue by then
    ///   is not written any more.
    /// * The future may be dropped before it is done; the caller will then ask again.
    async fn push(
        &self,
        notification: &Notification,
        attempt: Attempt,
        deadline: Timestamp,
    ) -> Result<Pushed, PushError>;

    /// Tells connections that were handed this notification, and may show it, to take it away. Best effort: it is
    /// neither stored nor acknowledged. The default does nothing.
    async fn retract(&self, _user: &UserId, _id: NotificationId) {}
}

/// How often a notification's acknowledgement has been given up on, plus one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt(NonZeroU16);

impl Attempt {
    /// The first.
    pub const FIRST: Self = Self(NonZeroU16::MIN);

    /// The one after this; the 65,535th stays the last.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Counted from 1.
    pub const fn number(self) -> u16 {
        self.0.get()
    }
}

/// What became of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pushed {
    /// Written to a socket whose client does not acknowledge: the notification is delivered. For pushers that
    /// write at once; one that puts frames into a queue returns [`InFlight`](Self::InFlight) and calls
    /// `acknowledged` when the frame is written.
    Written,
    /// At least one connection has it; `acknowledged` will be called, or `departed`, or neither within the
    /// ack timeout.
    InFlight,
    /// The user is there, but no connection has room for it now. Delivery keeps it and everything behind it,
    /// in order, and goes on when `ready` is called, or after `push_retry` (1 s) without such a call.
    ///
    /// Return this, and never [`Nobody`](Self::Nobody), for a live connection whose queue is full. If one
    /// connection took it and another was full, return `InFlight`, and call `arrived` once the other has room.
    Full,
    /// The user has no connection. Delivery does nothing more for this user until `arrived` is called.
    Nobody,
}

/// The push itself failed; the user may be there all the same, so it is tried again soon.
#[derive(Debug, thiserror::Error)]
#[error("the push failed: {0}")]
pub struct PushError(#[source] pub Box<dyn std::error::Error + Send + Sync>);
