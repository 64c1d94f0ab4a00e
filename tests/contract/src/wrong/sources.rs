//! Outboxes: the one in memory, with a flaw.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use doorstep_domain::NotificationId;
use doorstep_domain::ports::{
    Backlog, Bad, Fence, NotificationSource, SourceError, Withdrawal, Written,
};

use super::{WrongAdapter, with_flaws};
use crate::memory_source::MemorySource;
use crate::source::{SourceUnderTest, check_source};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    LosesIds,
    NewestFirst,
    IgnoresLimit,
    TakesOnce,
    CountsNothing,
    AcceptsAnything,
    RejectsOnlyWhatWaits,
    ForgetsNothing,
    ReadsFromTheStart,
    LeasesToAll,
    OneNumber,
    IgnoresNumbers,
    AnybodyReleases,
    ReleasesNothing,
    KeepsWhatIsWithdrawn,
    WithdrawsAllTopics,
    AcceptedOfAnybody,
    WaitsForEver,
}

/// What each does, and the promise that it breaks.
const ALL: [(Flaw, &str, &str); 18] = [
    (Flaw::LosesIds, "does not read the ids", "source whole"),
    (Flaw::NewestFirst, "takes the newest first", "source order"),
    (Flaw::IgnoresLimit, "takes everything", "source order"),
    (Flaw::TakesOnce, "takes each row once", "source take"),
    (Flaw::CountsNothing, "has a backlog of zero", "source backlog"),
    (Flaw::AcceptsAnything, "returns as accepted what does not wait", "source accept"),
    (Flaw::RejectsOnlyWhatWaits, "does not reject what was accepted", "source reject"),
    (Flaw::ForgetsNothing, "does not forget", "source forget"),
    (Flaw::ReadsFromTheStart, "reads the accepted from the start", "source accepted"),
    (Flaw::LeasesToAll, "gives the lease to whoever asks", "source lease"),
    (Flaw::OneNumber, "gives each lease the same number", "source lease number"),
    (Flaw::IgnoresNumbers, "lets a node write that has lost the lease", "source lease lost"),
    (Flaw::AnybodyReleases, "lets anybody give the lease back", "source lease released"),
    (Flaw::ReleasesNothing, "waits for the end of a released lease", "source lease released"),
    (
        Flaw::KeepsWhatIsWithdrawn,
        "returns what it was to withdraw, and keeps it",
        "source withdraw",
    ),
    (Flaw::WithdrawsAllTopics, "withdraws all topics for one", "source withdraw match"),
    (Flaw::AcceptedOfAnybody, "reads the accepted whatever matches", "source accepted of"),
    (Flaw::WaitsForEver, "waits until something is written, however long", "source written"),
];

pub(super) fn all() -> Vec<WrongAdapter> {
    with_flaws(&ALL, |flaw| async move {
        let inner = MemorySource::default();
        check_source(&Wrong { flaw, inner, state: Arc::default() }).await;
    })
}

/// The source in memory behind a flaw. Clones share everything.
#[derive(Clone)]
struct Wrong {
    flaw: Flaw,
    inner: MemorySource,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    latest: Option<Fence>,
    taken: BTreeSet<u64>,
}

impl Wrong {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number by which the inner source knows the lease.
    fn known(&self, fence: Fence) -> Fence {
        match self.flaw {
            Flaw::OneNumber | Flaw::IgnoresNumbers => self.state().latest.unwrap_or(fence),
            _ => fence,
        }
    }
}

#[async_trait]
impl SourceUnderTest for Wrong {
    fn node(&self) -> Arc<dyn NotificationSource> {
        Arc::new(self.clone())
    }

    async fn publish(&self, number: u64) -> NotificationId {
        self.inner.publish(number).await
    }

    async fn lease_ends(&self) {
        self.inner.lease_ends().await;
    }
}

#[async_trait]
impl NotificationSource for Wrong {
    async fn lease(&self) -> Result<Option<Fence>, SourceError> {
        if self.flaw == Flaw::LeasesToAll {
            self.inner.lease_ends().await;
        }
        let Some(fence) = self.inner.lease().await? else { return Ok(None) };
        self.state().latest = Some(fence);
        Ok(Some(if self.flaw == Flaw::OneNumber { Fence(1) } else { fence }))
    }

    async fn renew(&self, fence: Fence) -> Result<(), SourceError> {
        self.inner.renew(self.known(fence)).await
    }

    async fn release(&self, fence: Fence) -> Result<(), SourceError> {
        match self.flaw {
            Flaw::AnybodyReleases => self.inner.lease_ends().await,
            Flaw::ReleasesNothing => {}
            _ => return self.inner.release(self.known(fence)).await,
        }
        Ok(())
    }

    async fn accepted(&self, after: u64, limit: usize) -> Result<Vec<Written>, SourceError> {
        let after = if self.flaw == Flaw::ReadsFromTheStart { 0 } else { after };
        self.inner.accepted(after, limit).await
    }

    async fn take(&self, limit: usize) -> Result<Vec<Written>, SourceError> {
        let limit = if self.flaw == Flaw::IgnoresLimit { usize::MAX } else { limit };
        let mut rows = self.inner.take(limit).await?;
        match self.flaw {
            Flaw::LosesIds => {
                for row in &mut rows {
                    row.id = None;
                }
            }
            Flaw::NewestFirst => rows.reverse(),
            Flaw::TakesOnce => {
                let mut state = self.state();
                // Small looks are not remembered: the order is checked with one.
                rows.retain(|row| limit < 10 || state.taken.insert(row.place));
            }
            _ => {}
        }
        Ok(rows)
    }

    async fn accept(&self, fence: Fence, places: &[u64]) -> Result<Vec<u64>, SourceError> {
        let moved = self.inner.accept(self.known(fence), places).await?;
        Ok(if self.flaw == Flaw::AcceptsAnything { places.to_vec() } else { moved })
    }

    async fn reject(&self, fence: Fence, bad: &[Bad]) -> Result<(), SourceError> {
        let waiting = self.inner.take(usize::MAX).await?;
        let waits = |bad: &Bad| waiting.iter().any(|row| row.place == bad.place);
        let mut bad = bad.to_vec();
        bad.retain(|bad| self.flaw != Flaw::RejectsOnlyWhatWaits || waits(bad));
        self.inner.reject(self.known(fence), &bad).await
    }

    async fn forget(&self, fence: Fence, places: &[u64]) -> Result<(), SourceError> {
        let places = if self.flaw == Flaw::ForgetsNothing { &[] } else { places };
        self.inner.forget(self.known(fence), places).await
    }

    async fn withdraw(
        &self,
        which: &Withdrawal,
        limit: usize,
    ) -> Result<Vec<Written>, SourceError> {
        match (self.flaw, which) {
            (Flaw::KeepsWhatIsWithdrawn, Withdrawal::One(id)) => {
                let mut rows = self.inner.take(usize::MAX).await?;
                rows.retain(|row| row.id == Some(*id));
                Ok(rows)
            }
            (Flaw::WithdrawsAllTopics, Withdrawal::AllOf(user, Some(_))) => {
                self.inner.withdraw(&Withdrawal::AllOf(user.clone(), None), limit).await
            }
            _ => self.inner.withdraw(which, limit).await,
        }
    }

    async fn accepted_of(
        &self,
        which: &Withdrawal,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Written>, SourceError> {
        if self.flaw == Flaw::AcceptedOfAnybody {
            return self.inner.accepted(after, limit).await;
        }
        self.inner.accepted_of(which, after, limit).await
    }

    async fn written(&self, at_most: Duration) {
        if self.flaw == Flaw::WaitsForEver {
            std::future::pending::<()>().await;
        }
        self.inner.written(at_most).await;
    }

    async fn backlog(&self) -> Result<Backlog, SourceError> {
        if self.flaw == Flaw::CountsNothing {
            return Ok(Backlog::default());
        }
        self.inner.backlog().await
    }
}
