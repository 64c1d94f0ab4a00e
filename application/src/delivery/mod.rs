//! The deferred-delivery policy (a stub: its public face, so that the transports can be built against it).

use doorstep_domain::{Notification, NotificationId, Outcome, UserId};

/// Delivers notifications to users, now or when they arrive.
pub struct Delivery {}

/// What happened to a notification so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It waits for the user.
    Waiting,
    /// Pushed; the acknowledgement is awaited.
    InFlight,
    /// It has ended.
    Ended(Outcome),
}

/// Why a notification was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The user's mailbox is full and its rule is to refuse.
    #[error("the user's mailbox is full")]
    MailboxFull,
}

/// The sender's handle on the outcome. Dropping it costs and cancels nothing.
pub struct Receipt {}

impl Receipt {
    /// What had happened when the notification was accepted.
    pub fn state(&self) -> State {
        State::Waiting
    }

    /// Waits for the outcome.
    pub async fn outcome(self) -> Outcome {
        Outcome::Delivered
    }
}

impl Delivery {
    /// Accepts a notification.
    pub async fn send(&self, _notification: Notification) -> Result<Receipt, Refused> {
        Ok(Receipt {})
    }

    /// A connection of this user has begun: call it after the connection can be pushed to.
    pub fn arrived(&self, _user: &UserId) {}

    /// A connection of this user has ended: call it after it can no longer be pushed to.
    pub fn departed(&self, _user: &UserId) {}

    /// A connection of this user acknowledged this notification (or a plain one was written it).
    pub fn acknowledged(&self, _user: &UserId, _id: NotificationId) {}
}
