//! What is wrong with leases, and with closing positions under them.

use std::time::Duration;

use async_trait::async_trait;
use doorstep_domain::ports::{
    Close, Closing, Fence, HeldLease, Lease, Positions, StoreError, TakenLease,
};
use tokio::task::yield_now;

use super::{Flaw, Place, Wrong, WrongAdapter, with_flaws};
use crate::{closing_under_a_lease, durable_lease, lease};

/// What each does, and the promise that it breaks.
const ALL: [(Flaw, &str, &str); 14] = [
    (Flaw::LooksToTake, "looks whether it is free, and then takes it", "lease one holder"),
    (Flaw::OneForAllNames, "has one lease for all names", "lease own name"),
    (Flaw::LastsForEver, "lets a lease last until it is given back", "lease ends"),
    (Flaw::RenewsNothing, "returns true, and renews nothing", "lease renewed"),
    (Flaw::NumbersEachHolderOne, "gives each holder the number 1", "lease number grows"),
    (Flaw::LosesNotes, "keeps the first line of a note", "lease note"),
    (Flaw::KeepsWhatIsReleased, "keeps what is given back", "lease released"),
    (Flaw::RenewsForEarlierHolders, "renews with any number", "lease lost"),
    (Flaw::ReleasesForEarlierHolders, "takes it back with any number", "lease lost"),
    (Flaw::LosesAtReopening, "keeps leases in memory", "lease durable"),
    (Flaw::ClosesUnderNoLease, "closes nothing under a lease", "close under a lease"),
    (Flaw::ClosesUnderAnyLease, "does not look at the lease", "close without the lease"),
    (Flaw::ClosesUnderAnyNumber, "does not compare the number", "close without the lease"),
    (Flaw::ClosesAndSaysLost, "closes, and then looks at the lease", "close without the lease"),
];

pub(super) fn all() -> Vec<WrongAdapter> {
    with_flaws(&ALL, |flaw| async move {
        let mut place = Place(Wrong::with(flaw));
        let it = place.0.clone();
        lease(it.clone()).await;
        closing_under_a_lease(it.clone(), it.clone(), it).await;
        durable_lease(&mut place).await;
    })
}

impl Wrong {
    fn named<'a>(&self, name: &'a str) -> &'a str {
        if self.is(Flaw::OneForAllNames) { "all" } else { name }
    }

    /// The number of the last holder.
    fn last_holder(&self, name: &str) -> Fence {
        self.state().holders.get(name).copied().unwrap_or(Fence(1))
    }

    /// The number that the bank is asked with.
    fn number(&self, name: &str, given: Fence, flaw: Flaw) -> Fence {
        let any = self.is(flaw) || self.is(Flaw::NumbersEachHolderOne);
        if any { self.last_holder(name) } else { given }
    }

    pub(super) async fn closes_under(
        &self,
        closings: &[Closing],
        HeldLease { name, fence }: HeldLease,
    ) -> Result<Vec<Close>, StoreError> {
        let fence = self.number(&name, fence, Flaw::ClosesUnderAnyNumber);
        let lease = Some(HeldLease { name, fence });
        match self.flaw {
            Flaw::ClosesUnderAnyLease => self.inner.close_all(closings, None).await,
            Flaw::ClosesUnderNoLease => Ok(vec![Close::LeaseLost; closings.len()]),
            Flaw::ClosesAndSaysLost => {
                let before = self.inner.copy();
                self.inner.close_all(closings, None).await?;
                before.close_all(closings, lease).await
            }
            _ => self.inner.close_all(closings, lease).await,
        }
    }
}

#[async_trait]
impl Lease for Wrong {
    async fn take(
        &self,
        name: &str,
        holder: &str,
        lasts: Duration,
    ) -> Result<Option<TakenLease>, StoreError> {
        let name = self.named(name);
        let lasts = if self.is(Flaw::LastsForEver) { Duration::from_hours(24) } else { lasts };
        let taken = if self.is(Flaw::LooksToTake) {
            let copy = self.inner.copy();
            let taken = copy.take(name, holder, lasts).await?;
            yield_now().await;
            self.inner.replace_with(&copy);
            taken
        } else {
            self.inner.take(name, holder, lasts).await?
        };
        let Some(mut taken) = taken else { return Ok(None) };
        self.state().holders.insert(name.to_owned(), taken.fence);
        match self.flaw {
            Flaw::NumbersEachHolderOne => taken.fence = Fence(1),
            Flaw::LosesNotes => {
                taken.note = taken.note.lines().next().unwrap_or_default().to_owned();
            }
            _ => {}
        }
        Ok(Some(taken))
    }

    async fn renew(
        &self,
        name: &str,
        fence: Fence,
        note: &str,
        lasts: Duration,
    ) -> Result<bool, StoreError> {
        let name = self.named(name);
        if self.is(Flaw::RenewsNothing) {
            return Ok(true);
        }
        let fence = self.number(name, fence, Flaw::RenewsForEarlierHolders);
        self.inner.renew(name, fence, note, lasts).await
    }

    async fn release(&self, name: &str, fence: Fence, note: &str) -> Result<(), StoreError> {
        let name = self.named(name);
        if self.is(Flaw::KeepsWhatIsReleased) {
            return Ok(());
        }
        let fence = self.number(name, fence, Flaw::ReleasesForEarlierHolders);
        self.inner.release(name, fence, note).await
    }
}
