use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use doorstep_domain::ports::Fence;
use tokio::time::Instant;

/// Whether this node holds a lease, by its own monotonic clock: it knows of the end before anybody else can take it.
#[derive(Debug, Default)]
pub(super) struct Tenure(Mutex<Option<(Fence, Instant)>>);

impl Tenure {
    /// It was taken or renewed by a question that was asked at this time, and lasts so long from then.
    pub(super) fn held(&self, fence: Fence, asked: Instant, lasts: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((fence, asked + lasts));
    }

    /// It is over.
    pub(super) fn over(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The number of the lease, while it is held.
    pub(super) fn fence(&self) -> Option<Fence> {
        let held = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.filter(|(_, until)| Instant::now() < *until).map(|(fence, _)| fence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_ends_by_itself_counted_from_before_the_question() {
        let tenure = Tenure::default();
        assert_eq!(tenure.fence(), None);
        let asked = Instant::now();
        tokio::time::advance(Duration::from_secs(2)).await;
        tenure.held(Fence(3), asked, Duration::from_secs(5));
        assert_eq!(tenure.fence(), Some(Fence(3)));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(tenure.fence(), None);
    }
}
