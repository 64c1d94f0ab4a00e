//! The one lock of the delivery policy: the standard library's, or the model checker's.

use std::sync::PoisonError;

#[cfg(shuttle)]
use shuttle::sync::{Mutex as Inner, MutexGuard};
#[cfg(not(shuttle))]
use std::sync::{Mutex as Inner, MutexGuard};

/// A mutex that is held briefly, never across an await.
#[derive(Default)]
pub(super) struct Mutex<T>(Inner<T>);

impl<T> Mutex<T> {
    pub(super) fn new(value: T) -> Self {
        Self(Inner::new(value))
    }

    /// Ignores poisoning. A panic under the lock is a bug in a pure function; the state that it leaves is sound
    /// enough to end the waiting notifications, which is better than ending the process.
    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
