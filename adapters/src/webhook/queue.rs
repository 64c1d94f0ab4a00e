use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use doorstep_domain::{Ended, Timestamp};
use tokio::sync::Notify;

/// Outcomes that wait to be sent. Adding to it never waits; when it is full, the oldest outcomes are dropped.
pub(super) struct OutcomeQueue {
    waiting: Mutex<VecDeque<Ended>>,
    /// How many were taken out and are being sent, and when the oldest of them happened.
    sending: Mutex<Option<(usize, Timestamp)>>,
    most: usize,
    bell: Notify,
    lost: AtomicU64,
}

impl OutcomeQueue {
    pub(super) fn new(most: usize) -> Self {
        let (waiting, bell) = (Mutex::default(), Notify::new());
        let (sending, lost) = (Mutex::default(), AtomicU64::new(0));
        Self { waiting, sending, most: most.max(1), bell, lost }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Ended>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, ended: Vec<Ended>) {
        let mut waiting = self.waiting();
        waiting.extend(ended);
        let over = waiting.len().saturating_sub(self.most);
        waiting.drain(..over);
        drop(waiting);
        self.bell.notify_one();
        if over > 0 {
            let before = self.count_lost(over);
            // Logs the first loss, and then every thousandth.
            if before == 0 || before / 1000 < self.lost() / 1000 {
                tracing::warn!(
                    lost = self.lost(),
                    "the webhook's queue is full; outcomes are lost"
                );
            }
        }
    }

    /// Waits until the queue is not empty. Only one task may wait.
    pub(super) async fn filled(&self) {
        while self.waiting().is_empty() {
            self.bell.notified().await;
        }
    }

    pub(super) fn take(&self, most: usize) -> Vec<Ended> {
        let mut waiting = self.waiting();
        let count = most.min(waiting.len());
        let taken: Vec<Ended> = waiting.drain(..count).collect();
        if waiting.is_empty() {
            waiting.shrink_to(1024);
        }
        *self.sending() = taken.first().map(|oldest| (count, oldest.at));
        taken
    }

    fn sending(&self) -> MutexGuard<'_, Option<(usize, Timestamp)>> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was taken is sent, or lost.
    pub(super) fn settled(&self) {
        *self.sending() = None;
    }

    /// How many the receiver has not taken, and when the oldest of them happened.
    pub(super) fn backlog(&self) -> (usize, Option<Timestamp>) {
        let (waiting, sending) = (self.waiting(), *self.sending());
        let next = waiting.front().map(|next| next.at);
        let (count, oldest) = sending.map_or((0, None), |(count, oldest)| (count, Some(oldest)));
        (waiting.len() + count, oldest.or(next))
    }

    pub(super) fn len(&self) -> usize {
        self.waiting().len()
    }

    /// Drops the rest; returns its number.
    pub(super) fn give_up(&self) -> usize {
        let left = self.take(usize::MAX).len();
        self.settled();
        self.count_lost(left);
        left
    }

    /// Returns how many had been lost before.
    pub(super) fn count_lost(&self, count: usize) -> u64 {
        self.lost.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Relaxed)
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}
