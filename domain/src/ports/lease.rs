use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Fence, StoreError};

/// The right to do something that one node at a time may do, on the clock of the store.
///
/// **At most one holder at a time**, as the store counts time: a holder counts with its own monotonic clock, from before it
/// asked, and so knows of the end first. What a holder writes elsewhere carries its [`Fence`].
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait Lease: Send + Sync {
    /// Takes the lease of this name for so long, if nobody holds it. Returns `None` if somebody does.
    async fn take(
        &self,
        name: &str,
        holder: &str,
        lasts: Duration,
    ) -> Result<Option<TakenLease>, StoreError>;

    /// Lets the lease last for so long from now, and stores the note for the next holder. Returns false, and changes nothing,
    /// if it is no longer held with this number.
    async fn renew(
        &self,
        name: &str,
        fence: Fence,
        note: &str,
        lasts: Duration,
    ) -> Result<bool, StoreError>;

    /// Gives it back with a note, so that another node need not wait for its end. Changes nothing if it is no longer held
    /// with this number.
    async fn release(&self, name: &str, fence: Fence, note: &str) -> Result<(), StoreError>;
}

/// A lease, as its holder names it to a store that is to write only while it is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldLease {
    /// Its name.
    pub name: Arc<str>,
    /// Its number.
    pub fence: Fence,
}

/// A lease that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenLease {
    /// Its number.
    pub fence: Fence,
    /// What the holder before has noted; empty if nobody has.
    pub note: String,
}
