use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};

use doorstep_domain::Kind;
use foldhash::fast::RandomState;

/// The kinds that are told apart in figures: the first [`Kinds::MOST`] that are seen. All others share one place.
/// Kinds come from senders, so there may be any number of them.
///
/// Looking up a kind takes no lock, and a kind keeps its place for good.
pub struct Kinds {
    slots: [OnceLock<Kind>; SLOTS],
    hasher: RandomState,
    /// Set when no further kind gets a place, so that those beyond the limit do not take the lock either.
    full: AtomicBool,
    taken: Mutex<usize>,
}

opaque!(Kinds);

/// The place of a kind in figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindSlot(u8);

/// A power of two above the most kinds, so that a search soon meets a free slot.
const SLOTS: usize = 64;

impl KindSlot {
    /// How many places there are, including the shared one.
    pub const COUNT: usize = SLOTS + 1;
    /// The place that all kinds beyond the limit share.
    pub const OTHER: Self = Self(64);

    /// Its number, below [`COUNT`](Self::COUNT).
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl Kinds {
    /// How many kinds have a place of their own.
    pub const MOST: usize = 50;

    /// The place of this kind.
    pub fn slot_of(&self, kind: &Kind) -> KindSlot {
        self.find(kind).unwrap_or_else(|| self.add(kind))
    }

    /// Every place in use, with the kind's name; `other` is the shared one.
    pub fn each(&self) -> impl Iterator<Item = (KindSlot, &str)> {
        let named = self.slots.iter().zip(0_u8..);
        let named = named.filter_map(|(kind, n)| Some((KindSlot(n), kind.get()?.as_str())));
        let other = self.full.load(Relaxed).then_some((KindSlot::OTHER, "other"));
        named.chain(other)
    }

    /// `None` if it has no place yet.
    fn find(&self, kind: &Kind) -> Option<KindSlot> {
        for index in self.way_of(kind) {
            match self.slots[usize::from(index)].get() {
                Some(known) if known == kind => return Some(KindSlot(index)),
                Some(_) => {}
                None => break,
            }
        }
        self.full.load(Relaxed).then_some(KindSlot::OTHER)
    }

    fn add(&self, kind: &Kind) -> KindSlot {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have added it, or the last one that fits.
        if let Some(slot) = self.find(kind) {
            return slot;
        }
        if *taken == Self::MOST {
            self.full.store(true, Relaxed);
            return KindSlot::OTHER;
        }
        for index in self.way_of(kind) {
            if self.slots[usize::from(index)].set(kind.clone()).is_ok() {
                *taken += 1;
                return KindSlot(index);
            }
        }
        KindSlot::OTHER
    }

    /// The slots in which this kind may be, in the order of the search.
    fn way_of(&self, kind: &Kind) -> impl Iterator<Item = u8> + use<> {
        let first = self.hasher.hash_one(kind).to_le_bytes()[0];
        (0..64).map(move |step| first.wrapping_add(step) % 64)
    }
}

impl Default for Kinds {
    fn default() -> Self {
        Self {
            slots: [const { OnceLock::new() }; SLOTS],
            hasher: RandomState::default(),
            full: AtomicBool::new(false),
            taken: Mutex::new(0),
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;

    fn kind(number: usize) -> Kind {
        format!("kind-{number}").parse().expect("a kind")
    }

    #[test]
    fn a_kind_keeps_its_place_and_those_beyond_the_limit_share_one() {
        let kinds = Kinds::default();
        let slots: Vec<_> = (0..Kinds::MOST).map(|n| kinds.slot_of(&kind(n))).collect();
        let apart: BTreeSet<_> = slots.iter().map(|slot| slot.index()).collect();
        assert_eq!(apart.len(), Kinds::MOST);
        assert_eq!(kinds.each().count(), Kinds::MOST, "nothing is other");
        for n in Kinds::MOST..10 * Kinds::MOST {
            assert_eq!(kinds.slot_of(&kind(n)), KindSlot::OTHER);
        }
        assert_eq!((0..Kinds::MOST).map(|n| kinds.slot_of(&kind(n))).collect::<Vec<_>>(), slots);
        let names: BTreeSet<_> = kinds.each().map(|(_, name)| name.to_owned()).collect();
        assert!(names.len() == Kinds::MOST + 1 && names.contains("other"), "{names:?}");
    }

    #[test]
    fn threads_that_add_the_same_kinds_agree_on_their_places() {
        let kinds = Arc::new(Kinds::default());
        let add = |_| {
            let kinds = kinds.clone();
            std::thread::spawn(move || {
                (0..100).map(|n| kinds.slot_of(&kind(n))).collect::<Vec<_>>()
            })
        };
        let threads: Vec<_> = (0..8).map(add).collect();
        let seen: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        for one in &seen {
            assert_eq!(one, &seen[0]);
        }
        assert_eq!(kinds.each().count(), Kinds::MOST + 1);
    }
}
