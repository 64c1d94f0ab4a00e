//! What all simulated users together have seen.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Counters over all users.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) users: AtomicU64,
    pub(super) connected: AtomicU64,
    pub(super) connections: AtomicU64,
    pub(super) opened: AtomicU64,
    pub(super) closed: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) repeated: AtomicU64,
    /// From the creation of a notification to its popup, for users who were online.
    live: Mutex<Vec<Duration>>,
    /// From the connection to the popup, for users who connected later.
    waited: Mutex<Vec<Duration>>,
}

/// Adds one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

impl Tally {
    pub(super) fn popup(&self, was_there: bool, took: Duration) {
        let waits = if was_there { &self.live } else { &self.waited };
        waits.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(took);
    }

    /// Both kinds of durations, sorted: users who were online, users who connected later.
    pub(super) fn popups(&self) -> [Vec<Duration>; 2] {
        [&self.live, &self.waited].map(|waits| {
            let mut waits = waits.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
            waits.sort_unstable();
            waits
        })
    }

    pub(super) fn line(&self, remaining: Duration) -> String {
        let popups: usize = self.popups().iter().map(Vec::len).sum();
        format!(
            "{} users, {} connections, {} opened, {} closed by hand, {popups} popups, {}",
            self.users.load(Relaxed),
            self.connected.load(Relaxed),
            self.opened.load(Relaxed),
            self.closed.load(Relaxed),
            match remaining.as_secs() {
                0 => "counting up".to_owned(),
                seconds => format!("{seconds} s left"),
            }
        )
    }
}
