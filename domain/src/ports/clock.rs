use crate::Timestamp;

/// Tells the time. Code in `domain` and `application` must not read the machine's clock.
///
/// There are two times. [`now`](Self::now) is the node's own timeline: it only moves forward, at the pace of real
/// time, and every wait is measured on it. [`wall`](Self::wall) is the time of day: a correction of the machine's
/// clock moves it in either direction. Every time that others see or set is wall time: the claims of tokens,
/// signatures, sessions, and everything that is stored or printed.
///
/// The two differ only by the steps of the machine's clock since the start. A clock without steps implements only
/// `now`.
pub trait Clock: Send + Sync {
    /// Returns the current time on the node's timeline. **Never earlier than a time that it returned before**, on any
    /// thread: a step of the machine's clock neither ends nor revives a notification that waits.
    fn now(&self) -> Timestamp;

    /// Converts a time of the timeline to the time of day, by the machine's clock as it is now.
    fn wall_of(&self, moment: Timestamp) -> Timestamp {
        moment
    }

    /// Converts a time of day to a time of the timeline: the inverse of [`wall_of`](Self::wall_of).
    fn moment_of(&self, wall: Timestamp) -> Timestamp {
        wall
    }

    /// Returns the current time of day.
    fn wall(&self) -> Timestamp {
        self.wall_of(self.now())
    }
}

#[cfg(feature = "mocks")]
mockall::mock! {
    /// A clock without steps: `wall` is `now`.
    pub Clock {}
    impl Clock for Clock {
        fn now(&self) -> Timestamp;
    }
}
