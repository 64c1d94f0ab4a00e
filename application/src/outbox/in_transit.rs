//! The rows on their way from the source to delivery.

use std::collections::VecDeque;

use doorstep_domain::ports::Fence;
use tokio::sync::{Mutex, MutexGuard};

use super::batch::Good;

/// What this node has read of the source and not published yet.
///
/// **While it is locked, no row is on its way**: the consumer holds the lock from the move of a row to the accepted ones
/// until it is in here, and while it hands one row to delivery. So whoever has the lock finds a row in the source, in
/// here, or in delivery.
#[derive(Default)]
pub struct InTransit(Mutex<Transit>);

opaque!(InTransit);

#[derive(Default)]
pub(super) struct Transit {
    pub(super) stage: Stage,
    /// Accepted under the lease, in order.
    pub(super) rows: VecDeque<Good>,
}

/// What the consumer is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has no lease.
    #[default]
    Idle,
    /// It reads what an earlier consumer had accepted, and has read everything up to this place.
    TakingUp { fence: Fence, after: u64 },
    /// What is accepted went through here.
    Consuming,
}

impl InTransit {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) async fn lock(&self) -> MutexGuard<'_, Transit> {
        self.0.lock().await
    }
}
