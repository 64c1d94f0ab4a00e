use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use doorstep_domain::ports::{Clock, Outcomes};
use doorstep_domain::{Ended, NotificationId, Outcome, Timestamp, UserId};
use tokio::sync::oneshot;

use crate::delivery::Acceptance;

/// What was published and what became of it: the first result, which a repeat also gets, and the outcome, which
/// is kept for a while. The memory is bounded: when it is full, the record that ended first is removed first, and
/// after those the oldest record. All times are on the clock's timeline: a step of the wall clock removes nothing.
pub struct PublishedRecords {
    shards: Box<[Mutex<RecordShard>]>,
    keep: Duration,
    most_a_shard: usize,
    clock: Arc<dyn Clock>,
}

opaque!(PublishedRecords);

/// What is known about one published notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedRecord {
    /// Its user.
    pub user_id: UserId,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// Its state or outcome.
    pub progress: Progress,
}

/// The state or outcome of a published notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It was accepted and has not ended.
    Open(Acceptance),
    /// It has ended.
    Ended(Outcome, Timestamp),
}

#[derive(Default)]
struct RecordShard {
    // Senders may choose ids, so the hash is seeded at random.
    entries: HashMap<NotificationId, RecordEntry, foldhash::fast::RandomState>,
    /// In order of their begin. Some may have ended or been removed since.
    begun: VecDeque<(NotificationId, Timestamp)>,
    /// In order of their end. Some may have begun again since.
    ended: VecDeque<(NotificationId, Timestamp)>,
    waiting: HashMap<NotificationId, Vec<oneshot::Sender<()>>>,
}

struct RecordEntry {
    user_id: UserId,
    created_at: Timestamp,
    /// `None` while it is being sent.
    answer: Option<Acceptance>,
    end: Option<(Outcome, Timestamp)>,
    /// It was recalled, and no connection was ever handed it.
    never_pushed: bool,
}

/// Whether a notification with this id may be sent.
pub(super) enum Begun {
    /// It is new: send it and report the result.
    New(Sending),
    /// It was sent before, with this result.
    Known(Acceptance),
    /// Another caller is sending it now. Try again when this is ready.
    Busy(oneshot::Receiver<()>),
}

/// A reserved id. If it is dropped without a result, the id is free again.
pub(super) struct Sending {
    records: Arc<PublishedRecords>,
    id: NotificationId,
}

const SHARDS: usize = 64;

impl PublishedRecords {
    /// How long an outcome is kept.
    pub const KEEP: Duration = Duration::from_hours(1);

    /// Creates empty records with room for `most` notifications (at least 64), at about 200 bytes each.
    pub fn new(keep: Duration, most: usize, clock: Arc<dyn Clock>) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, keep, most_a_shard: (most / SHARDS).max(1), clock }
    }

    fn shard(&self, id: NotificationId) -> MutexGuard<'_, RecordShard> {
        // A backend that chooses ids so that they fall into one shard slows down only itself.
        let bytes = id.as_uuid().into_bytes();
        let index = usize::from(bytes[15] ^ bytes[6]) % SHARDS;
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves the id, if no notification with it was accepted or is being sent.
    pub(super) fn begin(
        self: &Arc<Self>,
        id: NotificationId,
        user: &UserId,
        now: Timestamp,
    ) -> Begun {
        let mut shard = self.shard(id);
        shard.forget_old(now, self.keep);
        match shard.entries.get(&id) {
            // A rejected notification was not accepted, and may be sent again.
            Some(RecordEntry { end: Some((Outcome::Rejected, _)), .. }) | None => {}
            Some(RecordEntry { answer: Some(answer), .. }) => return Begun::Known(*answer),
            Some(RecordEntry { answer: None, .. }) => return Begun::Busy(shard.watch(id)),
        }
        shard.make_room(self.most_a_shard);
        let user_id = user.clone();
        shard.entries.insert(
            id,
            RecordEntry { user_id, created_at: now, answer: None, end: None, never_pushed: false },
        );
        shard.begun.push_back((id, now));
        Begun::New(Sending { records: Arc::clone(self), id })
    }

    /// This one was recalled; `pushed` is what its sender was told, and is told again.
    pub(super) fn recalled(&self, id: NotificationId, pushed: bool) {
        if let Some(entry) = self.shard(id).entries.get_mut(&id) {
            entry.never_pushed = !pushed;
        }
    }

    /// Whether a connection was handed this one, as far as is known: false is a guarantee.
    pub(super) fn was_pushed(&self, id: NotificationId) -> bool {
        self.shard(id).entries.get(&id).is_none_or(|entry| !entry.never_pushed)
    }

    /// This notification has ended. An id without a record, or a second end, changes nothing.
    pub(super) fn end(&self, id: NotificationId, outcome: Outcome, at: Timestamp) {
        let mut shard = self.shard(id);
        let Some(entry) = shard.entries.get_mut(&id) else { return };
        if entry.end.is_none() {
            entry.end = Some((outcome, at));
            shard.ended.push_back((id, at));
            shard.wake(id);
        }
    }

    pub(super) fn look_up(&self, id: NotificationId, now: Timestamp) -> Option<PublishedRecord> {
        let mut shard = self.shard(id);
        shard.forget_old(now, self.keep);
        let RecordEntry { user_id, created_at, answer, end, .. } = shard.entries.get(&id)?;
        let progress = match end {
            Some((outcome, at)) => Progress::Ended(*outcome, *at),
            None => Progress::Open(answer.unwrap_or(Acceptance::Waiting)),
        };
        Some(PublishedRecord { user_id: user_id.clone(), created_at: *created_at, progress })
    }

    /// Waits until this notification has ended, or has no record.
    pub(super) async fn wait_until_ended(&self, id: NotificationId) {
        loop {
            let changed = {
                let mut shard = self.shard(id);
                match shard.entries.get(&id) {
                    Some(RecordEntry { end: None, .. }) => shard.watch(id),
                    _ => return,
                }
            };
            drop(changed.await);
        }
    }
}

impl Sending {
    /// The notification was accepted, with this result. Returns the outcome instead, if it has ended since.
    pub(super) fn accepted(self, answer: Acceptance, now: Timestamp) -> Acceptance {
        let mut shard = self.records.shard(self.id);
        let Some(entry) = shard.entries.get_mut(&self.id) else { return answer };
        let answer = match (answer, entry.end) {
            (Acceptance::Waiting | Acceptance::InFlight, Some((outcome, _))) => {
                Acceptance::Ended(outcome)
            }
            (answer, _) => answer,
        };
        entry.answer = Some(answer);
        drop(shard);
        // The observer is told too, but perhaps after the publisher's next request.
        if let Acceptance::Ended(outcome) = answer {
            self.records.end(self.id, outcome, now);
        }
        answer
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let mut shard = self.records.shard(self.id);
        if shard.entries.get(&self.id).is_some_and(|e| e.answer.is_none() && e.end.is_none()) {
            shard.entries.remove(&self.id);
        }
        // Also wakes callers that wait only for the result.
        shard.wake(self.id);
    }
}

impl RecordShard {
    fn watch(&mut self, id: NotificationId) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let waiting = self.waiting.entry(id).or_default();
        // Removes callers that have given up.
        waiting.retain(|sender| !sender.is_closed());
        waiting.push(sender);
        receiver
    }

    fn wake(&mut self, id: NotificationId) {
        for sender in self.waiting.remove(&id).unwrap_or_default() {
            // An error means that the caller has given up.
            let _ = sender.send(());
        }
    }

    fn forget(&mut self, id: NotificationId) {
        self.entries.remove(&id);
        self.wake(id);
    }

    fn forget_old(&mut self, now: Timestamp, keep: Duration) {
        while self.ended.front().is_some_and(|(_, at)| now.since(*at) > keep) {
            self.forget_oldest_end();
        }
    }

    fn forget_oldest_end(&mut self) {
        let Some((id, at)) = self.ended.pop_front() else { return };
        if self.entries.get(&id).and_then(|entry| entry.end).is_some_and(|(_, then)| then == at) {
            self.forget(id);
        }
    }

    fn make_room(&mut self, most: usize) {
        while self.entries.len() >= most && !self.ended.is_empty() {
            self.forget_oldest_end();
        }
        while self.entries.len() >= most
            && let Some((id, then)) = self.begun.pop_front()
        {
            if self.entries.get(&id).is_some_and(|entry| entry.created_at == then) {
                self.forget(id);
            }
        }
        // Most of these have ended since and need no place in the order.
        if self.begun.len() > 2 * self.entries.len() + 64 {
            let entries = &self.entries;
            self.begun.retain(|(id, then)| {
                entries.get(id).is_some_and(|e| e.created_at == *then && e.end.is_none())
            });
        }
    }
}

#[async_trait]
impl Outcomes for PublishedRecords {
    async fn ended(&self, ended: Vec<Ended>) {
        for Ended { id, outcome, at, .. } in ended {
            self.end(id, outcome, self.clock.moment_of(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const HOUR: Duration = PublishedRecords::KEEP;

    fn records_for(most: usize) -> Arc<PublishedRecords> {
        Arc::new(PublishedRecords::new(
            HOUR,
            most,
            Arc::new(doorstep_domain::ports::MockClock::new()),
        ))
    }

    /// All in one shard.
    fn id(n: u128) -> NotificationId {
        NotificationId::new(Uuid::from_u128(n << 16))
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_micros(secs * 1_000_000)
    }

    fn begin(records: &Arc<PublishedRecords>, id: NotificationId, now: Timestamp) -> Begun {
        records.begin(id, &"ada".parse().unwrap(), now)
    }

    fn accept(records: &Arc<PublishedRecords>, id: NotificationId, now: Timestamp) {
        let Begun::New(sending) = begin(records, id, now) else { panic!("not new") };
        sending.accepted(Acceptance::Waiting, now);
    }

    #[test]
    fn an_end_is_remembered_for_an_hour() {
        let records = records_for(64_000);
        accept(&records, id(1), at(0));
        records.end(id(1), Outcome::Delivered, at(5));
        let expected = Progress::Ended(Outcome::Delivered, at(5));
        assert_eq!(records.look_up(id(1), at(3605)).unwrap().progress, expected);
        assert_eq!(records.look_up(id(1), at(3606)), None);
    }

    #[test]
    fn full_records_remove_the_oldest_end_first_and_never_grow() {
        let records = records_for(3 * SHARDS);
        for n in 1..=3 {
            accept(&records, id(n), at(0));
        }
        records.end(id(2), Outcome::Expired, at(1));
        accept(&records, id(4), at(2));
        let known = |n| records.look_up(id(n), at(3)).is_some();
        assert!(known(1) && !known(2) && known(3) && known(4));
        accept(&records, id(5), at(3));
        assert!(!known(1) && known(3), "then the oldest of all");
        for n in 6..100_000 {
            accept(&records, id(n), at(4));
            records.end(id(n), Outcome::Delivered, at(4));
        }
        let shard = records.shard(id(1));
        assert!(shard.entries.len() <= 3 && shard.ended.len() <= 3, "{}", shard.ended.len());
        assert!(shard.begun.len() <= 128 && shard.waiting.is_empty(), "{}", shard.begun.len());
    }

    #[tokio::test]
    async fn a_repeat_during_the_first_send_waits_for_its_result() {
        let records = records_for(64);
        let Begun::New(sending) = begin(&records, id(1), at(0)) else { panic!("not new") };
        let Begun::Busy(answered) = begin(&records, id(1), at(0)) else { panic!("not busy") };
        sending.accepted(Acceptance::InFlight, at(0));
        answered.await.unwrap();
        assert!(matches!(begin(&records, id(1), at(0)), Begun::Known(Acceptance::InFlight)));
    }

    #[test]
    fn a_notification_that_was_given_up_or_rejected_may_be_sent_again() {
        let records = records_for(64);
        drop(begin(&records, id(1), at(0)));
        assert_eq!(records.look_up(id(1), at(0)), None);
        let Begun::New(sending) = begin(&records, id(1), at(0)) else { panic!("not new") };
        records.end(id(1), Outcome::Rejected, at(1));
        drop(sending);
        let expected = Progress::Ended(Outcome::Rejected, at(1));
        assert_eq!(records.look_up(id(1), at(1)).unwrap().progress, expected);
        accept(&records, id(1), at(2));
        // The first end is not taken for an end of the second.
        assert!(records.look_up(id(1), at(3601 + 1)).is_some());
    }
    #[test]
    fn a_million_ids_leave_no_more_than_it_may_hold() {
        const MOST: usize = 10_000;
        let records = records_for(MOST);
        for n in 0..1_000_000_u128 {
            // Distributed like random ids; every third one ends.
            let id = NotificationId::new(Uuid::from_u128(n.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
            accept(&records, id, at(1));
            if n % 3 == 0 {
                records.end(id, Outcome::Delivered, at(2));
            }
        }
        let shards: Vec<_> = records.shards.iter().map(|shard| shard.lock().unwrap()).collect();
        let sum =
            |of: fn(&RecordShard) -> usize| shards.iter().map(|shard| of(shard)).sum::<usize>();
        assert!(sum(|shard| shard.entries.len()) <= MOST);
        assert!(sum(|shard| shard.entries.capacity()) <= 4 * MOST);
        assert!(sum(|shard| shard.begun.len() + shard.ended.len()) <= 4 * MOST + 64 * SHARDS);
        assert_eq!(sum(|shard| shard.waiting.len()), 0);
    }

    #[tokio::test]
    async fn a_caller_that_gives_up_waiting_leaves_nothing_behind() {
        let records = records_for(64);
        accept(&records, id(1), at(0));
        for _ in 0..10_000 {
            let waiting = records.wait_until_ended(id(1));
            assert!(futures_util::FutureExt::now_or_never(waiting).is_none());
        }
        assert!(records.shard(id(1)).waiting[&id(1)].len() <= 2);
        records.end(id(1), Outcome::Expired, at(1));
        assert!(records.shard(id(1)).waiting.is_empty());
    }
}
