//! Inboxes: the one in memory, with a flaw.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use doorstep_domain::ports::{EnteredBy, Inbox, InboxItem, Removed, StoreError, Which};
use doorstep_domain::{Notification, NotificationId, Timestamp, Topic, UserId};
use tokio::task::yield_now;

use super::{WrongAdapter, with_flaws};
use crate::memory::Memory;
use crate::{Reopens, durable_inbox, inbox};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    LosesTopics,
    RoundsTimes,
    ShowsEverybodys,
    ReplacesKnown,
    OrdersById,
    IgnoresLimit,
    NewestFirst,
    ForgetsHowItEntered,
    DeliversTheFirstOnly,
    DeliveredIsRead,
    ClaimsAllMarks,
    ForgetsItsMarks,
    CountsUndelivered,
    ReadStaysUndelivered,
    ReturnsDelivered,
    LastReadingCounts,
    UnknownIsNothing,
    ReturnsAThousandOnly,
    BeforeIncludesItself,
    BeforeUnknownIsNewest,
    IgnoresUnreadOnly,
    MarksForAnybody,
    LooksThenReads,
    KeepsWhatIsRemoved,
    ForgetsDeliveryOfRemoved,
    WithdrawsAllTopics,
    WithdrawsPromoted,
    WithdrawsWithoutEnd,
    AddsOneByOne,
    LosesAtReopening,
    LosesMarksAtReopening,
}

/// What each does, and the promise that it breaks.
const ALL: [(Flaw, &str, &str); 31] = [
    (Flaw::LosesTopics, "does not store topics", "inbox whole"),
    (Flaw::RoundsTimes, "rounds times to milliseconds", "inbox whole"),
    (Flaw::ShowsEverybodys, "shows all items to a user who has none", "inbox own"),
    (Flaw::ReplacesKnown, "replaces an item whose id is added again", "inbox known id"),
    (Flaw::OrdersById, "orders items by their ids", "inbox order"),
    (Flaw::IgnoresLimit, "returns all undelivered items", "inbox limit"),
    (Flaw::NewestFirst, "returns the newest undelivered items", "inbox limit"),
    (Flaw::ForgetsHowItEntered, "takes all items for those of a policy", "inbox entered by"),
    (Flaw::DeliversTheFirstOnly, "marks the first of several as delivered", "inbox delivered"),
    (Flaw::DeliveredIsRead, "takes what was delivered for read", "inbox delivered"),
    (Flaw::ClaimsAllMarks, "says of all that it has marked them", "inbox first mark"),
    (Flaw::ForgetsItsMarks, "does not repeat an answer that was lost", "inbox first mark"),
    (Flaw::CountsUndelivered, "counts the undelivered as the unread", "inbox delivered"),
    (Flaw::ReadStaysUndelivered, "returns what was read as undelivered", "inbox read"),
    (Flaw::ReturnsDelivered, "returns from a reading what was delivered before", "inbox read"),
    (Flaw::LastReadingCounts, "keeps the time of the last reading", "inbox first reading"),
    (Flaw::UnknownIsNothing, "reads an unknown item as if there were none left", "inbox unknown"),
    (Flaw::ReturnsAThousandOnly, "reads all, and returns the first thousand", "inbox read all"),
    (Flaw::BeforeIncludesItself, "begins a page with the last of the one before", "inbox pages"),
    (Flaw::BeforeUnknownIsNewest, "begins at the newest before an unknown item", "inbox pages"),
    (Flaw::IgnoresUnreadOnly, "shows read items on the unread page", "inbox unread only"),
    (Flaw::MarksForAnybody, "marks items of other users as delivered", "inbox others"),
    (Flaw::LooksThenReads, "looks what is undelivered, and then reads it", "inbox read at once"),
    (Flaw::KeepsWhatIsRemoved, "returns what it was to remove, and keeps it", "inbox remove"),
    (Flaw::ForgetsDeliveryOfRemoved, "removes as if nothing were delivered", "inbox remove"),
    (Flaw::WithdrawsAllTopics, "withdraws all topics for one", "inbox remove undelivered"),
    (Flaw::WithdrawsPromoted, "withdraws what entered by expiry", "inbox remove undelivered"),
    (Flaw::WithdrawsWithoutEnd, "withdraws any number at a time", "inbox remove a thousand"),
    (Flaw::AddsOneByOne, "adds several one by one", "inbox all or none"),
    (Flaw::LosesAtReopening, "keeps everything in memory", "inbox durable"),
    (Flaw::LosesMarksAtReopening, "keeps in memory what was delivered and read", "inbox durable"),
];

pub(super) fn all() -> Vec<WrongAdapter> {
    with_flaws(&ALL, |flaw| async move {
        let mut place = Place { flaw, store: Arc::new(Wrong::new(flaw, Memory::default())) };
        inbox(place.store.clone()).await;
        durable_inbox(&mut place).await;
    })
}

/// The inbox in memory behind a flaw.
struct Wrong {
    flaw: Flaw,
    inner: Memory,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whose each item is.
    owners: HashMap<NotificationId, UserId>,
    /// What was returned by readings.
    returned: Vec<InboxItem>,
    /// When each item was read last.
    readings: HashMap<NotificationId, Timestamp>,
}

impl Wrong {
    fn new(flaw: Flaw, inner: Memory) -> Self {
        Self { flaw, inner, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a reading would return now.
    async fn to_be_read(&self, user: &UserId, which: Which, at: Timestamp) -> Vec<InboxItem> {
        let mut items = self.inner.undelivered(user, 1000).await.unwrap_or_default();
        items.retain(|item| which == Which::All || which == Which::One(item.notification.id));
        for item in &mut items {
            item.read_at = Some(at);
        }
        items
    }
}

/// Where it is opened again.
struct Place {
    flaw: Flaw,
    store: Arc<Wrong>,
}

#[async_trait]
impl Reopens for Place {
    type Store = Wrong;

    async fn reopen(&mut self) -> Arc<Wrong> {
        let kept = Memory::default();
        match self.flaw {
            Flaw::LosesAtReopening => self.store = Arc::new(Wrong::new(self.flaw, kept)),
            Flaw::LosesMarksAtReopening => {
                for item in self.store.inner.items() {
                    kept.add(&[item.notification], item.by).await.ok();
                }
                self.store = Arc::new(Wrong::new(self.flaw, kept));
            }
            _ => {}
        }
        self.store.clone()
    }
}

#[async_trait]
impl Inbox for Wrong {
    async fn add(&self, notifications: &[Notification], by: EnteredBy) -> Result<(), StoreError> {
        let mut all = notifications.to_vec();
        for n in &mut all {
            self.state().owners.insert(n.id, n.user_id.clone());
            match self.flaw {
                Flaw::LosesTopics => n.topic = None,
                Flaw::RoundsTimes => {
                    n.created_at = Timestamp::from_micros(n.created_at.as_millis() * 1000);
                }
                Flaw::ReplacesKnown => drop(self.inner.remove(n.id).await?),
                _ => {}
            }
        }
        if self.flaw != Flaw::AddsOneByOne {
            return self.inner.add(&all, by).await;
        }
        for n in all {
            self.inner.add(&[n], by).await?;
            yield_now().await;
        }
        Ok(())
    }

    async fn undelivered(&self, user: &UserId, limit: usize) -> Result<Vec<InboxItem>, StoreError> {
        let inner = |limit| self.inner.undelivered(user, limit);
        match self.flaw {
            Flaw::OrdersById => {
                let mut all = inner(usize::MAX).await?;
                all.sort_by_key(|item| item.notification.id);
                all.truncate(limit);
                Ok(all)
            }
            Flaw::IgnoresLimit => inner(usize::MAX).await,
            Flaw::NewestFirst => {
                let all = inner(usize::MAX).await?;
                Ok(all[all.len().saturating_sub(limit)..].to_vec())
            }
            Flaw::ReadStaysUndelivered => {
                let mut all = inner(limit).await?;
                all.extend(self.state().returned.iter().cloned());
                all.retain(|item| item.notification.user_id == *user);
                Ok(all)
            }
            _ => inner(limit).await,
        }
    }

    async fn mark_delivered(
        &self,
        items: &[(UserId, NotificationId)],
        at: Timestamp,
    ) -> Result<Vec<NotificationId>, StoreError> {
        match self.flaw {
            Flaw::ClaimsAllMarks => {
                self.inner.mark_delivered(items, at).await?;
                Ok(items.iter().map(|(_, id)| *id).collect())
            }
            Flaw::ForgetsItsMarks => {
                let Some((user, _)) = items.first() else { return Ok(Vec::new()) };
                let before = self.inner.undelivered(user, usize::MAX).await?;
                let mut marked = self.inner.mark_delivered(items, at).await?;
                marked.retain(|id| before.iter().any(|item| item.notification.id == *id));
                Ok(marked)
            }
            Flaw::DeliversTheFirstOnly => {
                self.inner.mark_delivered(&items[..items.len().min(1)], at).await
            }
            Flaw::DeliveredIsRead => {
                let mut marked = Vec::new();
                for (user, id) in items {
                    let fresh = self.inner.mark_read(user, Which::One(*id), at).await?;
                    marked.extend(fresh.into_iter().flatten().map(|item| item.notification.id));
                }
                Ok(marked)
            }
            Flaw::MarksForAnybody => {
                let owners = self.state().owners.clone();
                let theirs = |(_, id): &(UserId, _)| Some((owners.get(id)?.clone(), *id));
                let items: Vec<_> = items.iter().filter_map(theirs).collect();
                self.inner.mark_delivered(&items, at).await
            }
            _ => self.inner.mark_delivered(items, at).await,
        }
    }

    async fn page(
        &self,
        user: &UserId,
        unread_only: bool,
        before: Option<NotificationId>,
        limit: usize,
    ) -> Result<Vec<InboxItem>, StoreError> {
        let unread_only = unread_only && self.flaw != Flaw::IgnoresUnreadOnly;
        let mut page = self.inner.page(user, unread_only, before, limit).await?;
        match self.flaw {
            Flaw::ShowsEverybodys if page.is_empty() => page = self.inner.items(),
            Flaw::ForgetsHowItEntered => {
                for item in &mut page {
                    item.by = EnteredBy::Policy;
                }
            }
            Flaw::LastReadingCounts => {
                let state = self.state();
                for item in &mut page {
                    item.read_at = state.readings.get(&item.notification.id).copied();
                }
            }
            Flaw::BeforeIncludesItself => {
                let all = self.inner.page(user, unread_only, None, usize::MAX).await?;
                let same = all.into_iter().find(|item| before == Some(item.notification.id));
                page.splice(..0, same);
                page.truncate(limit);
            }
            Flaw::BeforeUnknownIsNewest => {
                let all = self.inner.page(user, unread_only, None, usize::MAX).await?;
                if !all.iter().any(|item| before == Some(item.notification.id)) {
                    page = all;
                    page.truncate(limit);
                }
            }
            _ => {}
        }
        Ok(page)
    }

    async fn mark_read(
        &self,
        user: &UserId,
        which: Which,
        at: Timestamp,
    ) -> Result<Option<Vec<InboxItem>>, StoreError> {
        if let Which::One(id) = which {
            self.state().readings.insert(id, at);
        }
        let all = self.inner.page(user, false, None, usize::MAX).await?;
        let looked = self.to_be_read(user, which, at).await;
        if self.flaw == Flaw::LooksThenReads {
            yield_now().await;
        }
        let returned = self.inner.mark_read(user, which, at).await?;
        if self.flaw == Flaw::UnknownIsNothing {
            return Ok(Some(returned.unwrap_or_default()));
        }
        let Some(mut returned) = returned else { return Ok(None) };
        match self.flaw {
            Flaw::LooksThenReads => returned = looked,
            Flaw::ReadStaysUndelivered => self.state().returned.extend(returned.iter().cloned()),
            Flaw::ReturnsDelivered if returned.is_empty() => {
                let named = |item: &InboxItem| which == Which::One(item.notification.id);
                returned.extend(all.into_iter().filter(named));
            }
            Flaw::ReturnsAThousandOnly => {
                while self.inner.mark_read(user, which, at).await?.is_some_and(|m| !m.is_empty()) {}
            }
            _ => {}
        }
        Ok(Some(returned))
    }

    async fn unread(&self, user: &UserId) -> Result<u64, StoreError> {
        if self.flaw == Flaw::CountsUndelivered {
            return Ok(self.inner.undelivered(user, usize::MAX).await?.len() as u64);
        }
        self.inner.unread(user).await
    }

    async fn remove(&self, id: NotificationId) -> Result<Option<Removed>, StoreError> {
        let removed = self.inner.remove(id).await?;
        Ok(match (self.flaw, removed) {
            (Flaw::KeepsWhatIsRemoved, Some(removed)) => {
                let n = removed.item.notification.clone();
                self.inner.add(&[n], removed.item.by).await?;
                Some(removed)
            }
            (Flaw::ForgetsDeliveryOfRemoved, Some(removed)) => {
                Some(Removed { delivered: false, ..removed })
            }
            (_, removed) => removed,
        })
    }

    async fn remove_undelivered(
        &self,
        user: &UserId,
        topic: Option<Topic>,
    ) -> Result<Vec<InboxItem>, StoreError> {
        let topic = if self.flaw == Flaw::WithdrawsAllTopics { None } else { topic };
        let mut removed = self.inner.remove_undelivered(user, topic.clone()).await?;
        match self.flaw {
            Flaw::WithdrawsPromoted => {
                for item in self.inner.undelivered(user, usize::MAX).await? {
                    if topic.is_none() || item.notification.topic == topic {
                        self.inner.remove(item.notification.id).await?;
                        removed.push(item);
                    }
                }
            }
            Flaw::WithdrawsWithoutEnd => {
                removed.extend(self.inner.remove_undelivered(user, topic).await?);
            }
            _ => {}
        }
        Ok(removed)
    }
}
