//! What is wrong with positions.

use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use async_trait::async_trait;
use doorstep_domain::ports::{
    Accounts, Close, Closing, HeldLease, IdempotencyKey, Open, OpenError, Opening, Positions,
    Status, StoreError,
};
use doorstep_domain::{
    EarnedBy, EntryId, EntryKind, Money, Position, PositionId, Timestamp, UserId,
};
use tokio::task::yield_now;
use uuid::Uuid;

use super::{Flaw, Place, Wrong, WrongAdapter, with_flaws};
use crate::sample::entry;
use crate::{durable_positions, positions};

/// What each does, and the promise that it breaks.
const ALL: [(Flaw, &str, &str); 28] = [
    (Flaw::LosesTriggers, "does not store when a position closes itself", "position whole"),
    (Flaw::ReservesNothing, "gives back what it reserves", "position reserved"),
    (Flaw::SettlesTheGainOnly, "settles the gain without the cost", "position settled"),
    (Flaw::ClosesAgain, "returns Closed for what is closed", "position closed once"),
    (Flaw::OpensOnCredit, "opens more than the balance covers", "position not enough"),
    (Flaw::OpensAnyNumber, "opens any number of positions", "position too many"),
    (Flaw::OpensPositionOfNobody, "returns Opened for nobody", "position of nobody"),
    (Flaw::FindsAnybodys, "finds positions of other users", "position others"),
    (Flaw::CopiesToOpenWithKey, "looks for a key, and then opens", "position key once"),
    (Flaw::FindsKeysOfOthers, "finds what another user opened with a key", "position key own"),
    (Flaw::ForgetsKeysOfClosed, "forgets the key of a closed position", "position key closed"),
    (Flaw::KeepsKeysForAnHour, "keeps a key for an hour", "position key kept"),
    (Flaw::KeepsKeysForTwoDays, "keeps a key for two days", "position key kept"),
    (Flaw::KeepsKeysOfRefused, "keeps the key of a refused opening", "position key refused"),
    (Flaw::CopiesToClose, "looks whether it is open, and then closes", "position one closer"),
    (Flaw::MixesCloses, "returns what became of several in another order", "position together"),
    (Flaw::ClosesOneByOne, "closes several one by one", "position all or none"),
    (Flaw::CopiesToOpen, "looks at the balance, and then opens", "position never below zero"),
    (Flaw::SettlesBalanceFromBefore, "reads a balance, and later writes the sum", "position exact"),
    (Flaw::IgnoresStatus, "shows positions of every status", "position pages"),
    (Flaw::PagesOfUnknown, "begins at the newest before an unknown one", "position pages"),
    (Flaw::ListsClosedAsOpen, "lists closed positions as open", "position all open"),
    (Flaw::ListsOpenFromTheStart, "lists the same open ones again", "position all open"),
    (Flaw::NumbersEachOne, "returns 1 for each close", "position numbered"),
    (Flaw::OwesForEver, "lists closes whose reward was given", "position reward owed"),
    (Flaw::OwesWithoutLimit, "lists all closes that lack a reward", "position reward owed"),
    (Flaw::LosesAtReopening, "keeps positions in memory", "position durable"),
    (Flaw::LosesClosesAtReopening, "keeps closes in memory", "position durable"),
];

pub(super) fn all() -> Vec<WrongAdapter> {
    with_flaws(&ALL, |flaw| async move {
        let mut place = Place(Wrong::with(flaw));
        positions(place.0.clone(), place.0.clone()).await;
        durable_positions(&mut place).await;
    })
}

impl Wrong {
    /// Moves money that no position accounts for.
    async fn slip(&self, user: &UserId, minor: i64) -> Result<(), StoreError> {
        let reference = Uuid::now_v7().to_string();
        self.inner.grant(&entry(user, minor, &reference)).await.map(drop)
    }

    async fn closes_all(&self, closings: &[Closing]) -> Result<Vec<Close>, StoreError> {
        let mut closes = Vec::new();
        if self.is(Flaw::ClosesOneByOne) {
            for Closing { position, entry } in closings {
                closes.push(Positions::close(&self.inner, position, *entry).await?);
            }
        } else {
            closes = self.inner.close_all(closings, None).await?;
        }
        if self.is(Flaw::MixesCloses) {
            closes.reverse();
        }
        Ok(closes)
    }

    /// Opens in a copy, waits, and puts the copy in the place of the original.
    async fn open_in_a_copy(&self, opening: &Opening) -> Result<Open, OpenError> {
        let copy = self.inner.copy();
        let opened = Positions::open(&copy, opening).await;
        yield_now().await;
        self.inner.replace_with(&copy);
        opened
    }
}

#[async_trait]
impl Positions for Wrong {
    async fn open(&self, opening: &Opening) -> Result<Open, OpenError> {
        let mut opening = opening.clone();
        let position = opening.position.clone();
        let (user, cost) = (&position.user_id, position.cost.minor_units());
        match (self.flaw, &opening.key) {
            (Flaw::OpensAnyNumber, _) => opening.max_open = NonZeroUsize::MAX,
            (Flaw::CopiesToOpen, None) | (Flaw::CopiesToOpenWithKey, Some(_)) => {
                return self.open_in_a_copy(&opening).await;
            }
            (Flaw::ForgetsKeysOfClosed, Some(key)) => {
                let before = self.inner.opened_with(user, key, position.opened_at).await?;
                if before.is_some_and(|before| before.closed.is_some()) {
                    opening.key = None;
                }
            }
            _ => {}
        }
        let opened = Positions::open(&self.inner, &opening).await;
        match (self.flaw, &opened) {
            (Flaw::ReservesNothing, Ok(Open::Opened)) => self.slip(user, cost).await?,
            (Flaw::OpensOnCredit, Err(OpenError::NotEnough)) => {
                self.slip(user, cost).await?;
                return Positions::open(&self.inner, &opening).await;
            }
            (Flaw::OpensPositionOfNobody, Err(OpenError::Store(_))) => return Ok(Open::Opened),
            (Flaw::KeepsKeysOfRefused, Err(_)) => {
                let kept = opening.key.map(|key| (key, position.clone()));
                self.state().refused.extend(kept);
            }
            _ => {}
        }
        self.state().positions.insert(position.id, position);
        opened
    }

    async fn opened_with(
        &self,
        user: &UserId,
        key: &IdempotencyKey,
        now: Timestamp,
    ) -> Result<Option<Position>, StoreError> {
        let now = match self.flaw {
            Flaw::KeepsKeysForAnHour => now + Duration::from_hours(23),
            Flaw::KeepsKeysForTwoDays => now - Duration::from_hours(24),
            _ => now,
        };
        let found = self.inner.opened_with(user, key, now).await?;
        match self.flaw {
            Flaw::FindsKeysOfOthers if found.is_none() => {
                let all = self.state().positions.clone();
                for other in all.into_values() {
                    if let Some(other) = self.inner.opened_with(&other.user_id, key, now).await? {
                        return Ok(Some(other));
                    }
                }
            }
            Flaw::KeepsKeysOfRefused if found.is_none() => {
                let state = self.state();
                let same = |(kept, position): &&(IdempotencyKey, Position)| {
                    kept == key && position.user_id == *user
                };
                return Ok(state.refused.iter().find(same).map(|(_, position)| position.clone()));
            }
            _ => {}
        }
        Ok(found)
    }

    async fn close(&self, closed: &Position, entry: EntryId) -> Result<Close, StoreError> {
        let user = &closed.user_id;
        let before = self.inner.balance(user).await?;
        match self.flaw {
            Flaw::CopiesToClose => {
                let copy = self.inner.copy();
                let close = Positions::close(&copy, closed, entry).await;
                yield_now().await;
                self.inner.replace_with(&copy);
                return close;
            }
            Flaw::SettlesBalanceFromBefore => yield_now().await,
            Flaw::LosesClosesAtReopening => {
                let copy = self.inner.copy();
                self.state().before_closes = Some(copy);
            }
            _ => {}
        }
        let close = Positions::close(&self.inner, closed, entry).await?;
        match (self.flaw, close) {
            (Flaw::SettlesTheGainOnly, Close::Closed(_)) => {
                let balance = before.map_or(0, Money::minor_units);
                self.slip(user, -closed.cost.minor_units().min(balance)).await?;
            }
            (Flaw::ClosesAgain, Close::AlreadyClosed)
            | (Flaw::NumbersEachOne, Close::Closed(_)) => {
                return Ok(Close::Closed(NonZeroU64::MIN));
            }
            (Flaw::SettlesBalanceFromBefore, Close::Closed(_)) => {
                let settled = closed.settlement(entry).map(|entry| entry.amount);
                let sum = before.zip(settled).and_then(|(before, more)| before.checked_add(more));
                self.inner.set_balance(user, sum.unwrap_or_default());
            }
            _ => {}
        }
        Ok(close)
    }

    async fn close_all(
        &self,
        closings: &[Closing],
        lease: Option<HeldLease>,
    ) -> Result<Vec<Close>, StoreError> {
        match lease {
            Some(lease) => self.closes_under(closings, lease).await,
            None => self.closes_all(closings).await,
        }
    }

    async fn find(&self, user: &UserId, id: PositionId) -> Result<Option<Position>, StoreError> {
        let owner = self.state().positions.get(&id).map(|position| position.user_id.clone());
        let owner = owner.filter(|_| self.is(Flaw::FindsAnybodys));
        let found = Positions::find(&self.inner, owner.as_ref().unwrap_or(user), id).await?;
        Ok(found.map(|mut position| {
            if self.is(Flaw::LosesTriggers) {
                position.order.stop_loss = None;
            }
            position
        }))
    }

    async fn page(
        &self,
        user: &UserId,
        status: Option<Status>,
        before: Option<PositionId>,
        limit: usize,
    ) -> Result<Vec<Position>, StoreError> {
        let status = status.filter(|_| !self.is(Flaw::IgnoresStatus));
        let page = self.inner.page(user, status, before, limit).await?;
        if page.is_empty() && self.is(Flaw::PagesOfUnknown) {
            let all = self.inner.page(user, None, None, usize::MAX).await?;
            if !all.iter().any(|position| before == Some(position.id)) {
                return Ok(all.into_iter().take(limit).collect());
            }
        }
        Ok(page)
    }

    async fn all_open(
        &self,
        after: Option<PositionId>,
        limit: usize,
    ) -> Result<Vec<Position>, StoreError> {
        if self.is(Flaw::ListsClosedAsOpen) {
            let state = self.state();
            let behind = |p: &&Position| after.is_none_or(|after| p.id > after);
            return Ok(state.positions.values().filter(behind).take(limit).cloned().collect());
        }
        let after = after.filter(|_| !self.is(Flaw::ListsOpenFromTheStart));
        self.inner.all_open(after, limit).await
    }

    async fn closed_without(
        &self,
        reward: EntryKind,
        earned_by: EarnedBy,
        limit: usize,
    ) -> Result<Vec<(UserId, PositionId)>, StoreError> {
        let (reward, limit) = match self.flaw {
            // The reference of a gift is never a position.
            Flaw::OwesForEver => (EntryKind::WelcomeGift, limit),
            Flaw::OwesWithoutLimit => (reward, usize::MAX),
            _ => (reward, limit),
        };
        self.inner.closed_without(reward, earned_by, limit).await
    }
}
