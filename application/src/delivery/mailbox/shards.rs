use std::hash::BuildHasher;
use std::sync::Arc;

use doorstep_domain::{Timestamp, UserId};
use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;

use super::{Admission, Held, Mailroom};
use crate::delivery::capacity::Capacity;
use crate::delivery::census::Census;
use crate::delivery::sync::Mutex;

/// Enough that two cores rarely contend for one lock, few enough to scan all of them quickly.
const SHARDS: usize = 64;

/// A number of entries, and the bytes of their payloads.
type Load = (usize, usize);

/// All mailboxes, in shards by user, each under its own lock.
pub(in crate::delivery) struct Mailrooms {
    shards: Box<[Mutex<Mailroom>]>,
    hasher: SeedableRandomState,
    capacity: Arc<Capacity>,
}

impl Mailrooms {
    /// Users are spread over the shards with a random seed, so that nobody can choose ids that all fall into one
    /// shard. A simulation passes a fixed seed to repeat a schedule.
    pub(in crate::delivery) fn new(
        capacity: Arc<Capacity>,
        census: &Arc<Census>,
        hash_seed: Option<u64>,
    ) -> Self {
        let hasher = match hash_seed {
            None => SeedableRandomState::random(),
            Some(seed) => SeedableRandomState::with_seed(seed, SharedSeed::global_fixed()),
        };
        let room = |_| Mutex::new(Mailroom::new(hasher.clone(), census.clone()));
        let shards = (0..SHARDS).map(room).collect();
        Self { shards, hasher, capacity }
    }

    /// Calls `f` with the mailroom of this user, and updates the capacity.
    pub(in crate::delivery) fn with<T>(
        &self,
        user: &UserId,
        f: impl FnOnce(&mut Mailroom) -> T,
    ) -> T {
        self.in_shard(self.shard_of(user), f)
    }

    /// Like [`with`](Self::with), for an `f` that puts in a notification that the capacity has counted already. A
    /// refused notification stays counted.
    pub(in crate::delivery) fn put_in(
        &self,
        user: &UserId,
        bytes: usize,
        f: impl FnOnce(&mut Mailroom) -> Admission,
    ) -> Admission {
        self.locked(self.shard_of(user), |room| match f(room) {
            Admission::In(gone) => (Admission::In(gone), (1, bytes)),
            full @ Admission::Full(_) => (full, (0, 0)),
        })
    }

    /// Calls `f` with the mailroom of this shard, and updates the capacity.
    pub(in crate::delivery) fn in_shard<T>(
        &self,
        shard: usize,
        f: impl FnOnce(&mut Mailroom) -> T,
    ) -> T {
        self.locked(shard, |room| (f(room), (0, 0)))
    }

    fn shard_of(&self, user: &UserId) -> usize {
        // Bits that the hash tables inside the shard use least.
        let bits = usize::try_from(self.hasher.hash_one(user) >> 40 & 0xFFFF).unwrap_or(0);
        bits % self.shards.len()
    }

    /// `f` also returns the load that it put in and that was counted before.
    fn locked<T>(&self, shard: usize, f: impl FnOnce(&mut Mailroom) -> (T, Load)) -> T {
        let mut room = self.shards[shard].lock();
        let before = room.load();
        let (result, admitted) = f(&mut room);
        let after = room.load();
        let removed = room.take_removed_limited();
        room.shrink();
        drop(room);
        for (kind, bytes) in removed {
            self.capacity.leave_kind(&kind, bytes);
        }
        settle(&self.capacity, (before.0 + admitted.0, before.1 + admitted.1), after);
        result
    }

    /// When the next entry becomes due, in any shard.
    pub(in crate::delivery) fn next_due(&self) -> Option<Timestamp> {
        self.shards.iter().filter_map(|shard| shard.lock().next_due()).min()
    }

    /// Calls `f` with one mailroom after the other until it returns something. For what is known by its id only.
    pub(in crate::delivery) fn first<T>(
        &self,
        f: impl Fn(&mut Mailroom) -> Option<T>,
    ) -> Option<T> {
        (0..self.shards.len()).find_map(|shard| self.in_shard(shard, &f))
    }

    /// The number of shards.
    pub(in crate::delivery) fn shards(&self) -> usize {
        self.shards.len()
    }

    /// How much all shards hold together.
    pub(in crate::delivery) fn held(&self) -> Held {
        self.shards.iter().map(|shard| shard.lock().held()).fold(Held::default(), |a, b| Held {
            waiting: a.waiting + b.waiting,
            in_flight: a.in_flight + b.in_flight,
            mailboxes: a.mailboxes + b.mailboxes,
            bytes: a.bytes + b.bytes,
        })
    }
}

/// Reports the difference in load to the capacity.
fn settle(capacity: &Capacity, before: Load, after: Load) {
    if after == before {
        return;
    }
    capacity.force(after.0.saturating_sub(before.0), after.1.saturating_sub(before.1));
    capacity.release(before.0.saturating_sub(after.0), before.1.saturating_sub(after.1));
}
