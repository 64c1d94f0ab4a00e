use tokio_util::sync::CancellationToken;

/// Tells work in the background to stop. All clones are one signal, which is given once.
#[derive(Debug, Clone, Default)]
pub struct StopSignal(CancellationToken);

impl StopSignal {
    /// A signal that was not given yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the signal.
    pub fn give(&self) {
        self.0.cancel();
    }

    /// Whether it was given.
    pub fn is_given(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until it is given.
    pub async fn given(&self) {
        self.0.cancelled().await;
    }

    /// Waits for `work`, but not beyond the signal: `None` if the signal came first.
    pub async fn unless_given<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.0.run_until_cancelled(work).await
    }
}
