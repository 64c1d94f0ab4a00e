//! How a suite says that a promise is broken: its name, what was expected, and what came.

use std::fmt::{Debug, Display};

/// One promise of a port, as its documentation states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Clause {
    /// Short, and unique within all suites.
    pub name: &'static str,
    /// What must hold.
    pub promise: &'static str,
}

impl Clause {
    pub(crate) const fn new(name: &'static str, promise: &'static str) -> Self {
        Self { name, promise }
    }

    /// Fails unless the two are equal.
    #[track_caller]
    pub(crate) fn same<T: PartialEq + Debug>(self, what: impl Display, came: &T, expected: &T) {
        if came != expected {
            self.broken(format_args!("{what}: expected {expected:?}, and got {came:?}"));
        }
    }

    /// Fails unless it holds.
    #[track_caller]
    pub(crate) fn holds(self, it: bool, otherwise: impl Display) {
        if !it {
            self.broken(otherwise);
        }
    }

    /// Fails, as an assertion does.
    #[track_caller]
    pub(crate) fn broken(self, what: impl Display) -> ! {
        let Self { name, promise } = self;
        // A line that is longer than this says no more.
        let what: String = what.to_string().chars().take(600).collect();
        panic!("[{name}] {what}\n  The promise: {promise}.");
    }
}
