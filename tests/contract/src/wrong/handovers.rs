//! Places for what a node leaves: the one in memory, with a flaw.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use doorstep_domain::ports::{Handover, Left, StoreError};
use doorstep_domain::{Notification, NotificationId, Timestamp, UserId};
use tokio::task::yield_now;

use super::{WrongAdapter, with_flaws};
use crate::memory::Memory;
use crate::{Reopens, durable_handover, handover};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    LosesTraces,
    OrdersById,
    KeepsWhatIsTaken,
    ReplacesKnown,
    RemembersWhatWasTaken,
    IgnoresLimit,
    LooksThenTakes,
    TakesForAnybody,
    KeepsTheOne,
    ExpiresLate,
    ExpiresWithoutTtl,
    LooksFromTheStart,
    TakesWhatItLooksAt,
    LeavesOneByOne,
    LosesAtReopening,
    BringsBackAtReopening,
}

/// What each does, and the promise that it breaks.
const ALL: [(Flaw, &str, &str); 16] = [
    (Flaw::LosesTraces, "does not store traces", "handover whole"),
    (Flaw::OrdersById, "takes in the order of ids", "handover order"),
    (Flaw::KeepsWhatIsTaken, "keeps what was taken", "handover once"),
    (Flaw::ReplacesKnown, "replaces what is left again", "handover known id"),
    (Flaw::RemembersWhatWasTaken, "does not take again what was taken once", "handover again"),
    (Flaw::IgnoresLimit, "takes everything", "handover limit"),
    (Flaw::LooksThenTakes, "reads what it takes, and then removes it", "handover at once"),
    (Flaw::TakesForAnybody, "takes other users' for a user who has none", "handover of a user"),
    (Flaw::KeepsTheOne, "keeps the one that was taken by its id", "handover one"),
    (Flaw::ExpiresLate, "takes what has ended a microsecond late", "handover expired"),
    (Flaw::ExpiresWithoutTtl, "takes what has no TTL as expired", "handover expired"),
    (Flaw::LooksFromTheStart, "looks from the start whatever the place", "handover look"),
    (Flaw::TakesWhatItLooksAt, "takes what it looks at", "handover look"),
    (Flaw::LeavesOneByOne, "leaves several one by one", "handover all or none"),
    (Flaw::LosesAtReopening, "keeps everything in memory", "handover durable"),
    (Flaw::BringsBackAtReopening, "keeps in memory what was taken", "handover durable"),
];

pub(super) fn all() -> Vec<WrongAdapter> {
    with_flaws(&ALL, |flaw| async move {
        let mut store = Place(Arc::new(Wrong::new(flaw)));
        handover(store.0.clone()).await;
        durable_handover(&mut store).await;
    })
}

/// The one in memory behind a flaw.
struct Wrong {
    flaw: Flaw,
    inner: Memory,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: HashSet<NotificationId>,
    since_reopening: Vec<Notification>,
}

impl Wrong {
    fn new(flaw: Flaw) -> Self {
        Self { flaw, inner: Memory::default(), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where it is opened again.
struct Place(Arc<Wrong>);

#[async_trait]
impl Reopens for Place {
    type Store = Wrong;

    async fn reopen(&mut self) -> Arc<Wrong> {
        match self.0.flaw {
            Flaw::LosesAtReopening => self.0 = Arc::new(Wrong::new(self.0.flaw)),
            Flaw::BringsBackAtReopening => {
                let all = std::mem::take(&mut self.0.state().since_reopening);
                let kept = Wrong::new(self.0.flaw);
                kept.leave(&all).await.ok();
                self.0 = Arc::new(kept);
            }
            _ => {}
        }
        // What the suite before this one left is not what this one leaves.
        if self.0.inner.waiting().is_empty() {
            self.0.state().since_reopening.clear();
        }
        self.0.clone()
    }
}

#[async_trait]
impl Handover for Wrong {
    async fn leave(&self, waiting: &[Notification]) -> Result<(), StoreError> {
        let mut all = waiting.to_vec();
        self.state().since_reopening.extend_from_slice(waiting);
        match self.flaw {
            Flaw::LosesTraces => {
                for n in &mut all {
                    n.trace = None;
                }
            }
            Flaw::ReplacesKnown => {
                for n in &all {
                    self.inner.take_one(n.id).await?;
                }
            }
            Flaw::RemembersWhatWasTaken => {
                let mut state = self.state();
                all.retain(|n| state.known.insert(n.id));
            }
            Flaw::LeavesOneByOne => {
                for n in all {
                    self.inner.leave(&[n]).await?;
                    yield_now().await;
                }
                return Ok(());
            }
            _ => {}
        }
        self.inner.leave(&all).await
    }

    async fn take(&self, limit: usize) -> Result<Vec<Notification>, StoreError> {
        match self.flaw {
            Flaw::OrdersById => {
                let mut all = self.inner.waiting();
                all.sort_by_key(|n| n.id);
                all.truncate(limit);
                for n in &all {
                    self.inner.take_one(n.id).await?;
                }
                Ok(all)
            }
            Flaw::KeepsWhatIsTaken => {
                let mut all = self.inner.waiting();
                all.truncate(limit);
                Ok(all)
            }
            Flaw::IgnoresLimit => self.inner.take(usize::MAX).await,
            Flaw::LooksThenTakes => {
                let mut all = self.inner.waiting();
                all.truncate(limit);
                yield_now().await;
                for n in &all {
                    self.inner.take_one(n.id).await?;
                }
                Ok(all)
            }
            _ => self.inner.take(limit).await,
        }
    }

    async fn take_for(&self, user: &UserId, limit: usize) -> Result<Vec<Notification>, StoreError> {
        let taken = self.inner.take_for(user, limit).await?;
        if taken.is_empty() && self.flaw == Flaw::TakesForAnybody {
            return self.inner.take(limit).await;
        }
        Ok(taken)
    }

    async fn take_one(&self, id: NotificationId) -> Result<Option<Notification>, StoreError> {
        if self.flaw == Flaw::KeepsTheOne {
            return Ok(self.inner.waiting().into_iter().find(|n| n.id == id));
        }
        self.inner.take_one(id).await
    }

    async fn take_expired(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Notification>, StoreError> {
        let now = match self.flaw {
            Flaw::ExpiresLate => now - Duration::from_micros(1),
            _ => now,
        };
        let mut taken = self.inner.take_expired(now, limit).await?;
        if self.flaw == Flaw::ExpiresWithoutTtl {
            for n in self.inner.waiting().into_iter().filter(|n| n.ttl.is_none()) {
                if taken.len() < limit {
                    taken.extend(self.inner.take_one(n.id).await?);
                }
            }
        }
        Ok(taken)
    }

    async fn look(&self, after: u64, limit: usize) -> Result<Vec<Left>, StoreError> {
        let after = if self.flaw == Flaw::LooksFromTheStart { 0 } else { after };
        let seen = self.inner.look(after, limit).await?;
        if self.flaw == Flaw::TakesWhatItLooksAt {
            self.inner.take(limit).await?;
        }
        Ok(seen)
    }

    fn is_shared(&self) -> bool {
        true
    }
}
