//! The one lock of the delivery policy: the standard library's, or the model checker's.

use std::sync::PoisonError;

#[cfg(feature = "shuttle")]
use shuttle::sync::{Mutex as Inner, MutexGuard};
#[cfg(not(feature = "shuttle"))]
use std::sync::{Mutex as Inner, MutexGuard};

/// A mutex that is held for moments, never across an await.
#[derive(Default)]
pub(super) struct Mutex<T>(Inner<T>);

impl<T> Mutex<T> {
    pub(super) fn new(value: T) -> Self {
        Self(Inner::new(value))
    }

    /// A panic under the lock is a bug in a pure function; the state it leaves is still sound enough to end
    /// what waits, which beats ending the process.
    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
