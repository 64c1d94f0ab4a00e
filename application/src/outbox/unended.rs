use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use doorstep_domain::ports::Outcomes;
use doorstep_domain::{Ended, NotificationId, Outcome};
use tokio::sync::Notify;

/// Which rows of the outbox are accepted and have not ended, and which have ended and are still to be forgotten.
///
/// It hears of every end as one of delivery's observers. Its size is bounded by what delivery holds.
#[derive(Default)]
pub struct Unended {
    rows: Mutex<Rows>,
    bell: Notify,
}

opaque!(Unended);

#[derive(Default)]
struct Rows {
    /// By notification. An id that was used twice has several rows.
    places: HashMap<NotificationId, Vec<u64>>,
    ended: Vec<u64>,
}

impl Unended {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a row of this notification is accepted and has not ended: the outbox keeps it.
    pub fn contains(&self, id: NotificationId) -> bool {
        self.rows().places.contains_key(&id)
    }

    /// How many rows those are.
    pub fn len(&self) -> usize {
        self.rows().places.values().map(Vec::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows().places.is_empty()
    }

    /// To be called before the notification is published, so that no end is missed.
    pub(super) fn begin(&self, id: NotificationId, place: u64) {
        let mut rows = self.rows();
        let places = rows.places.entry(id).or_default();
        if !places.contains(&place) {
            places.push(place);
        }
    }

    /// The notification was not published: removes this row.
    pub(super) fn take_back(&self, id: NotificationId, place: u64) {
        let mut rows = self.rows();
        if let Some(places) = rows.places.get_mut(&id) {
            places.retain(|other| *other != place);
            if places.is_empty() {
                rows.places.remove(&id);
            }
        }
    }

    /// The notification has ended, or is kept elsewhere.
    pub(super) fn end(&self, id: NotificationId) {
        let mut rows = self.rows();
        if let Some(places) = rows.places.remove(&id) {
            rows.ended.extend(places);
            drop(rows);
            self.bell.notify_one();
        }
    }

    /// Takes at most `limit` of the rows that can be forgotten.
    pub(super) fn take_ended(&self, limit: usize) -> Vec<u64> {
        let mut rows = self.rows();
        let keep = rows.ended.len().saturating_sub(limit);
        rows.ended.split_off(keep)
    }

    /// Deleting them failed; try again later.
    pub(super) fn put_back(&self, places: Vec<u64>) {
        self.rows().ended.extend(places);
    }

    /// These were taken back before they were published: they can be forgotten.
    pub(super) fn withdrawn(&self, places: Vec<u64>) {
        if !places.is_empty() {
            self.rows().ended.extend(places);
            self.bell.notify_one();
        }
    }

    /// How many rows can be forgotten.
    pub(super) fn ended(&self) -> usize {
        self.rows().ended.len()
    }

    /// Waits until a row can be forgotten.
    pub(super) async fn some_ended(&self) {
        self.bell.notified().await;
    }
}

#[async_trait]
impl Outcomes for Unended {
    async fn ended(&self, ended: Vec<Ended>) {
        for Ended { id, outcome, .. } in ended {
            // A rejected one was never accepted: the consumer knows, and tries again or puts it aside.
            if outcome != Outcome::Rejected {
                self.end(id);
            }
        }
    }
}
