use std::hash::BuildHasher;
use std::sync::Arc;

use doorstep_domain::{Timestamp, UserId};
use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;

use super::gate::Gate;
use super::mailroom::{Held, Mailroom};
use super::sync::Mutex;

/// Enough that two cores hardly ever meet at one lock, few enough to be looked through in no time.
const SHARDS: usize = 64;

/// All mailboxes, in shards by user, each under its own lock.
pub(super) struct Mailrooms {
    shards: Box<[Mutex<Mailroom>]>,
    hasher: SeedableRandomState,
    gate: Arc<Gate>,
}

impl Mailrooms {
    /// How users are spread over the shards is random, so that nobody can choose ids that all meet in one;
    /// unless a simulation wants the same again.
    pub(super) fn new(gate: Arc<Gate>, hash_seed: Option<u64>) -> Self {
        let hasher = match hash_seed {
            None => SeedableRandomState::random(),
            Some(seed) => SeedableRandomState::with_seed(seed, SharedSeed::global_fixed()),
        };
        let shards = (0..SHARDS).map(|_| Mutex::new(Mailroom::new(hasher.clone()))).collect();
        Self { shards, hasher, gate }
    }

    /// Does something to the mailroom that has this user's mailbox, and keeps the books of the gate: those
    /// of `entered` were counted already by whoever asked the gate to let them in.
    pub(super) fn with<T>(
        &self,
        user: &UserId,
        entered: (usize, usize),
        f: impl FnOnce(&mut Mailroom) -> T,
    ) -> T {
        // Bits that the tables inside the shard make least use of.
        let shard = usize::try_from(self.hasher.hash_one(user) >> 40 & 0xFFFF).unwrap_or(0);
        self.in_shard(shard % self.shards.len(), entered, f)
    }

    pub(super) fn in_shard<T>(
        &self,
        shard: usize,
        entered: (usize, usize),
        f: impl FnOnce(&mut Mailroom) -> T,
    ) -> T {
        let mut room = self.shards[shard].lock();
        let before = room.load();
        let answer = f(&mut room);
        let after = room.load();
        let gone = room.limited_that_went();
        room.shrink();
        drop(room);
        for (kind, bytes) in gone {
            self.gate.leave_kind(&kind, bytes);
        }
        settle(&self.gate, (before.0 + entered.0, before.1 + entered.1), after);
        answer
    }

    /// When something is due next, anywhere.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.shards.iter().filter_map(|shard| shard.lock().next_due()).min()
    }

    pub(super) fn shards(&self) -> usize {
        self.shards.len()
    }

    pub(super) fn held(&self) -> Held {
        self.shards.iter().map(|shard| shard.lock().held()).fold(Held::default(), |a, b| Held {
            waiting: a.waiting + b.waiting,
            in_flight: a.in_flight + b.in_flight,
            mailboxes: a.mailboxes + b.mailboxes,
            bytes: a.bytes + b.bytes,
        })
    }
}

/// Tells the gate what came and went, where that is anything.
fn settle(gate: &Gate, before: (usize, usize), after: (usize, usize)) {
    if after == before {
        return;
    }
    gate.force(after.0.saturating_sub(before.0), after.1.saturating_sub(before.1));
    gate.release(before.0.saturating_sub(after.0), before.1.saturating_sub(after.1));
}
