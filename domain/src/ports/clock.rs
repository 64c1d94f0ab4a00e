use crate::Timestamp;

/// Tells the time, to all that may not ask the machine for it.
///
/// There are two times. [`now`](Self::now) is the node's own timeline: it only goes forward, at the pace of real
/// time, and everything that is waited for is measured on it. [`wall`](Self::wall) is the time of day: a
/// correction of the machine's clock moves it, in either direction. Everything that others see or set is wall
/// time: claims of tokens, signatures, sessions, and all that is stored or printed.
///
/// The two differ only by the steps of the machine's clock since the start. A clock without steps implements
/// `now` alone.
pub trait Clock: Send + Sync {
    /// Now, on the node's timeline. Never earlier than what it returned before: a step of the machine's clock
    /// neither ends nor revives what waits.
    fn now(&self) -> Timestamp;

    /// The time of day at a moment of the timeline, as the machine's clock has it now.
    fn wall_of(&self, moment: Timestamp) -> Timestamp {
        moment
    }

    /// The moment of the timeline at which it was, or will be, this time of day: the inverse of
    /// [`wall_of`](Self::wall_of).
    fn moment_of(&self, wall: Timestamp) -> Timestamp {
        wall
    }

    /// The time of day.
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
