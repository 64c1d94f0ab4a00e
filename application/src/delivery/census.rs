//! How many notifications wait, and since when, by kind.
//!
//! A count for each kind and each span of time in which what waits was created. Entering and leaving are one addition
//! each, and reading takes the same time however many wait. The spans are short for a short TTL and longer for a
//! longer one, so an age is exact to a second, or to 3 % of the TTL if that is more.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use doorstep_domain::{Kind, Notification, Timestamp, Ttl};

use super::kinds::{KindSlot, Kinds};

/// What waits, by kind and time of creation.
#[derive(Default)]
pub(super) struct Census {
    pub(super) kinds: Arc<Kinds>,
    places: Places,
}

struct Places([OnceLock<Box<OfKind>>; KindSlot::COUNT]);

/// The counts of one kind, at each level. Made when they are needed.
#[derive(Default)]
struct OfKind([OnceLock<Box<Ring>>; LEVELS]);

/// Counts by time of creation, modulo the length of the ring.
type Ring = [AtomicU32; RING];

/// Where one notification is counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct CensusPlace {
    slot: KindSlot,
    level: usize,
    span: usize,
}

/// What waits of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaitingOfKind<'a> {
    /// The kind, or `other` for all kinds beyond [`Kinds::MOST`].
    pub kind: &'a str,
    /// How many wait, without items of the inbox.
    pub waiting: u64,
    /// How old the oldest of them is, at least; zero if none waits.
    pub oldest: Duration,
}

const LEVELS: usize = 6;
const RING: usize = 256;
/// A span of the first level is 2^20 microseconds, about a second. Those of each further level are 4 times as long.
/// (The first level takes TTLs of up to 134 s, and the last one the longest.)
const SHIFT: usize = 20;
/// A level takes TTLs of at most this many of its spans: half of the ring, so that no span is met twice.
const MOST_SPANS: i64 = 128;
/// What is this many spans back is from the future: its sender's clock is ahead.
const FUTURE: usize = 192;

impl Census {
    pub(super) fn new(kinds: Arc<Kinds>) -> Self {
        Self { kinds, places: Places::default() }
    }

    pub(super) fn slot_of(&self, kind: &Kind) -> KindSlot {
        self.kinds.slot_of(kind)
    }

    /// This notification waits from now on.
    pub(super) fn entered(&self, place: CensusPlace) {
        self.ring(place)[place.span].fetch_add(1, Relaxed);
    }

    /// This notification waits no longer.
    pub(super) fn left(&self, place: CensusPlace) {
        self.ring(place)[place.span].fetch_sub(1, Relaxed);
    }

    /// Where a notification is counted whose TTL is set.
    pub(super) fn place_of(&self, n: &Notification) -> CensusPlace {
        CensusPlace::new(self.slot_of(&n.kind), n.created_at, n.ttl.unwrap_or(Ttl::MAX))
    }

    fn ring(&self, place: CensusPlace) -> &Ring {
        let of_kind = self.places.0[place.slot.index()].get_or_init(Box::default);
        of_kind.0[place.level].get_or_init(|| Box::new([const { AtomicU32::new(0) }; RING]))
    }

    /// What waits of each kind.
    pub(super) fn each(&self, now: Timestamp) -> impl Iterator<Item = WaitingOfKind<'_>> {
        self.kinds.each().map(move |(slot, kind)| {
            let mut all = WaitingOfKind { kind, waiting: 0, oldest: Duration::ZERO };
            let levels = self.places.0[slot.index()].get().into_iter().flat_map(|all| &all.0);
            for (level, ring) in levels.enumerate() {
                let Some(ring) = ring.get() else { continue };
                let (count, oldest) = read(ring, level, now);
                all.waiting += count;
                all.oldest = all.oldest.max(oldest);
            }
            all
        })
    }
}

/// How many are counted in a ring, and how old the oldest is at least.
fn read(ring: &Ring, level: usize, now: Timestamp) -> (u64, Duration) {
    let (mut count, mut oldest) = (0, Duration::ZERO);
    let this_span = now.as_micros().rem_euclid(1 << shift(level)).unsigned_abs();
    let length = Duration::from_micros(1 << shift(level));
    for back in 0..RING {
        let here = ring[span(now, level).wrapping_sub(back) % RING].load(Relaxed);
        count += u64::from(here);
        if here > 0 && (1..FUTURE).contains(&back) {
            // Since the end of that span.
            let whole_spans = length.saturating_mul(u32::try_from(back - 1).unwrap_or(u32::MAX));
            oldest = whole_spans + Duration::from_micros(this_span);
        }
    }
    (count, oldest)
}

const fn shift(level: usize) -> usize {
    SHIFT + 2 * level
}

/// In which span of a ring a moment is.
fn span(at: Timestamp, level: usize) -> usize {
    let span = (at.as_micros() >> shift(level)) & 0xFF;
    usize::try_from(span).unwrap_or(0)
}

impl CensusPlace {
    pub(super) fn new(slot: KindSlot, created_at: Timestamp, ttl: Ttl) -> Self {
        let micros = i64::from(ttl.as_millis()) * 1000;
        let fits = |level: &usize| micros <= MOST_SPANS << shift(*level);
        let level = (0..LEVELS).find(fits).unwrap_or(LEVELS - 1);
        Self { slot, level, span: span(created_at, level) }
    }
}

impl Default for Places {
    fn default() -> Self {
        Self([const { OnceLock::new() }; KindSlot::COUNT])
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_795_000_000_123_456);

    #[expect(clippy::unwrap_used, reason = "a kind of the test")]
    fn place(census: &Census, kind: &str, age: Duration, ttl: Ttl) -> CensusPlace {
        CensusPlace::new(census.slot_of(&kind.parse().unwrap()), NOW - age, ttl)
    }

    fn read(census: &Census) -> Vec<(String, u64, Duration)> {
        let mut all: Vec<_> =
            census.each(NOW).map(|one| (one.kind.to_owned(), one.waiting, one.oldest)).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn an_age_is_exact_to_a_second_or_to_3_percent_of_the_ttl() {
        for ttl in [1, 10, 60, 134, 600, 3600, 30_000, 86_400] {
            let exact = Duration::from_millis(1049).max(Duration::from_secs(ttl) * 32 / 1000);
            for part in 0..=20_u32 {
                let census = Census::default();
                let age = Duration::from_secs(ttl) * part / 20;
                let ttl = Ttl::from_secs(u32::try_from(ttl).unwrap());
                census.entered(place(&census, "k", age, ttl));
                let [(_, 1, oldest)] = &read(&census)[..] else { panic!("one waits") };
                assert!(*oldest <= age && age <= *oldest + exact, "{ttl}: {age:?}, not {oldest:?}");
            }
        }
    }

    #[test]
    fn what_leaves_is_not_counted_and_the_next_oldest_is() {
        let census = Census::default();
        let minute = Ttl::from_secs(60);
        let ages = [50, 20, 1].map(Duration::from_secs);
        let [old, middle, young] = ages.map(|age| place(&census, "k", age, minute));
        let other = place(&census, "l", Duration::from_mins(50), Ttl::MAX);
        for place in [old, middle, young, young, other] {
            census.entered(place);
        }
        let all = read(&census);
        assert_eq!((all[0].1, all[1].1), (4, 1));
        assert!(all[0].2 > Duration::from_secs(48) && all[1].2 > Duration::ZERO, "{all:?}");
        for place in [old, young] {
            census.left(place);
        }
        let all = read(&census);
        assert!(all[0].1 == 2 && all[0].2 < Duration::from_secs(21), "{all:?}");
        for place in [middle, young, other] {
            census.left(place);
        }
        assert_eq!(read(&census), ["k", "l"].map(|kind| (kind.to_owned(), 0, Duration::ZERO)));
    }

    #[test]
    fn what_its_sender_dates_in_the_future_is_not_old() {
        let census = Census::default();
        let slot = census.slot_of(&"k".parse().unwrap());
        let ahead = CensusPlace::new(slot, NOW + Duration::from_secs(30), Ttl::from_secs(60));
        census.entered(ahead);
        assert_eq!(read(&census), [("k".to_owned(), 1, Duration::ZERO)]);
    }
}
