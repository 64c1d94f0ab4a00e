use std::num::NonZeroU16;

use async_trait::async_trait;

use crate::{Notification, NotificationId, Timestamp, UserId};

/// Pushes notifications to live connections.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait Pusher: Send + Sync {
    /// Passes one notification to all live connections of its user and returns the result.
    ///
    /// * A connection that received this id in the same `attempt` does not receive it again, but still counts,
    ///   because its acknowledgement is outstanding. With a higher attempt, all connections receive it again.
    /// * Calls for one user come one at a time; the connection must deliver in the order of the calls.
    /// * `deadline` is the time at which the notification ends; a frame that is still in a queue then is not
    ///   written.
    /// * If the future is dropped before it is done, the caller calls again.
    async fn push(
        &self,
        notification: &Notification,
        attempt: Attempt,
        deadline: Timestamp,
    ) -> Result<Pushed, PushError>;

    /// Tells connections that were handed this notification, and may show it, to take it away. Best effort: it is
    /// neither stored nor acknowledged. The default does nothing.
    async fn retract(&self, user: &UserId, id: NotificationId, reason: RetractReason) {
        let _ = (user, id, reason);
    }
}

words! {
    /// Why connections take a notification away.
    RetractReason,
    /// Its sender took it back.
    Recalled = "recalled",
    /// Another connection acknowledged it.
    AcknowledgedElsewhere = "acknowledged_elsewhere",
    /// Its user closed it at another connection.
    DismissedElsewhere = "dismissed_elsewhere",
}

/// One plus the number of times that a notification's acknowledgement timed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt(NonZeroU16);

impl Attempt {
    /// The first attempt.
    pub const FIRST: Self = Self(NonZeroU16::MIN);

    /// The next attempt; after the 65,535th, the same one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The number, from 1.
    pub const fn number(self) -> u16 {
        self.0.get()
    }
}

/// The result of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pushed {
    /// It was written to a socket whose client does not acknowledge: the notification is delivered. For pushers
    /// that write immediately; one that queues frames returns [`InFlight`](Self::InFlight) and calls `acknowledged`
    /// when the frame is written.
    Written,
    /// At least one connection has it. `acknowledged` or `departed` will be called, or the ack timeout ends.
    InFlight,
    /// The user is there, but no connection has room now. Delivery keeps it and everything behind it, in order, and
    /// continues when `ready` is called, or after `push_retry` (1 s) without that call.
    ///
    /// Return this, and never [`Nobody`](Self::Nobody), for a live connection whose queue is full. If one
    /// connection took it and another was full, return `InFlight`, and call `arrived` once the other has room.
    Full,
    /// The user has no connection. Delivery does nothing more for this user until `arrived` is called.
    Nobody,
}

/// The push failed. The user may still be there, so it is repeated soon.
#[derive(Debug, thiserror::Error)]
#[error("the push failed: {0}")]
pub struct PushError(#[source] pub Box<dyn std::error::Error + Send + Sync>);
