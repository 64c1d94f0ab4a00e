use crate::{NotificationId, Step, UserId};

/// Is told each step of what happens to notifications, so that somebody can ask later whether one arrived.
///
/// It is optional, and what it does never changes a delivery. It has no contract suite, because nothing is read
/// through this port.
#[cfg_attr(feature = "mocks", mockall::automock)]
pub trait Chronicle: Send + Sync {
    /// Notes a step that happens now.
    ///
    /// It is called wherever the step happens, perhaps under a lock of the caller. So it returns at once, calls nothing
    /// back, and its memory is bounded.
    fn note(&self, user: &UserId, id: NotificationId, step: Step);
}
