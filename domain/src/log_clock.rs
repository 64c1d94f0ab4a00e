use std::collections::VecDeque;
use std::time::Duration;

use crate::{Sequence, Timestamp};

/// What is known about the time on the log's clock. The clock shows at least the one, and at most the other if that is
/// known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogTime {
    /// The lower bound. A deadline that lies before it has passed.
    pub at_least: Timestamp,
    /// The upper bound. A deadline that lies behind it has not passed.
    pub at_most: Option<Timestamp>,
}

/// Estimates the time on the log's clock, from what is read and appended. `now` is always the node's own timeline.
///
/// An entry that is read shows that the log's clock is at least at the entry's time. An entry of this node's own shows
/// also that the clock was at most at its time when it was sent. Between two observations both clocks run at the same
/// pace, except for [`DRIFT`](Self::DRIFT).
///
/// The log's clock may step: its time is corrected, or another machine with another clock takes over. **The newest
/// observation is right**: bounds that contradict it are given up.
#[derive(Debug, Default)]
pub struct LogClock {
    least: Option<Seen>,
    most: Option<Seen>,
    /// The entries that were read last, for an append whose answer comes after the entry itself.
    read: VecDeque<(Sequence, Timestamp)>,
    /// When this node's newest samples were sent.
    sent: VecDeque<(Sequence, Timestamp)>,
    /// When the last sample was begun.
    sampled: Option<Timestamp>,
}

/// The log's clock showed `log` when the node's showed `node`.
#[derive(Debug, Clone, Copy)]
struct Seen {
    log: Timestamp,
    node: Timestamp,
}

impl Seen {
    /// The log's time at `now`, if its clock is as slow as it can be.
    fn slowest(self, now: Timestamp) -> Timestamp {
        let elapsed = now.since(self.node);
        self.log + elapsed.saturating_sub(elapsed / LogClock::DRIFT)
    }

    /// The log's time at `now`, if its clock is as fast as it can be.
    fn fastest(self, now: Timestamp) -> Timestamp {
        let elapsed = now.since(self.node);
        self.log + elapsed + elapsed / LogClock::DRIFT
    }
}

impl LogClock {
    /// The clocks' pace differs by at most one part in this many: what time synchronisation may correct.
    pub const DRIFT: u32 = 2000;
    /// How many entries are remembered.
    const REMEMBERED: usize = 256;
    /// How long it is until the next append is a sample.
    const SAMPLE_EVERY: Duration = Duration::from_millis(100);

    /// Whether an append that begins now is to be reported with [`appended`](Self::appended): not all are, so that
    /// their cost does not count.
    pub fn samples(&mut self, now: Timestamp) -> bool {
        let due = self.sampled.is_none_or(|last| now.since(last) >= Self::SAMPLE_EVERY);
        if due {
            self.sampled = Some(now);
        }
        due
    }

    /// An append of this node's own was sent at `sent` and has won.
    pub fn appended(&mut self, sequence: Sequence, sent: Timestamp, now: Timestamp) {
        let time = self.read.iter().rev().find(|(read, _)| *read == sequence);
        if let Some((_, time)) = time.copied() {
            self.round_trip(time, sent, now);
        } else {
            remember(&mut self.sent, sequence, sent);
        }
    }

    /// An entry was read.
    pub fn read(&mut self, sequence: Sequence, time: Timestamp, now: Timestamp) {
        remember(&mut self.read, sequence, time);
        if self.least.is_none_or(|least| least.slowest(now) < time) {
            self.least = Some(Seen { log: time, node: now });
        }
        if self.most.is_some_and(|most| most.fastest(now) < time) {
            self.most = None;
        }
        if let Some(at) = self.sent.iter().position(|(sent, _)| *sent == sequence)
            && let Some((_, sent)) = self.sent.remove(at)
        {
            self.round_trip(time, sent, now);
        }
    }

    fn round_trip(&mut self, time: Timestamp, sent: Timestamp, now: Timestamp) {
        let seen = Seen { log: time, node: sent };
        if self.most.is_none_or(|most| seen.fastest(now) < most.fastest(now)) {
            self.most = Some(seen);
        }
        if self.least.is_some_and(|least| seen.fastest(now) < least.slowest(now)) {
            // The clock went back. Earlier observations are worth nothing.
            self.least = Some(Seen { log: time, node: now });
            self.most = Some(seen);
        }
    }

    /// Another machine's clock counts from now on, or the log is another.
    pub fn start_anew(&mut self) {
        *self = Self::default();
    }

    /// What is known; `None` before anything was read.
    pub fn at(&self, now: Timestamp) -> Option<LogTime> {
        let at_least = self.least?.slowest(now);
        Some(LogTime { at_least, at_most: self.most.map(|most| most.fastest(now).max(at_least)) })
    }
}

fn remember(list: &mut VecDeque<(Sequence, Timestamp)>, sequence: Sequence, time: Timestamp) {
    if list.len() == LogClock::REMEMBERED {
        list.pop_front();
    }
    list.push_back((sequence, time));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    #[test]
    fn nothing_is_known_before_something_is_read() {
        assert_eq!(LogClock::default().at(at(SECOND)), None);
    }

    #[test]
    fn an_entry_that_is_read_is_a_lower_bound_that_goes_on() {
        let mut clock = LogClock::default();
        clock.read(Sequence(1), at(100 * SECOND), at(0));
        let time = clock.at(at(2 * SECOND)).unwrap();
        assert_eq!(time, LogTime { at_least: at(102 * SECOND - 1000), at_most: None });
        // An old entry, read late, changes nothing.
        clock.read(Sequence(2), at(90 * SECOND), at(2 * SECOND));
        assert_eq!(clock.at(at(2 * SECOND)), Some(time));
    }

    #[test]
    fn an_own_entry_is_an_upper_bound_whether_the_answer_or_the_entry_comes_first() {
        for answer_first in [true, false] {
            let mut clock = LogClock::default();
            if answer_first {
                clock.appended(Sequence(7), at(SECOND), at(2 * SECOND));
                clock.read(Sequence(7), at(500 * SECOND), at(3 * SECOND));
            } else {
                clock.read(Sequence(7), at(500 * SECOND), at(3 * SECOND));
                clock.appended(Sequence(7), at(SECOND), at(3 * SECOND));
            }
            let time = clock.at(at(3 * SECOND)).unwrap();
            assert_eq!(time.at_least, at(500 * SECOND));
            assert_eq!(time.at_most, Some(at(502 * SECOND + 1000)));
        }
    }

    #[test]
    fn a_clock_that_went_back_is_noticed_by_a_round_trip() {
        let mut clock = LogClock::default();
        clock.read(Sequence(1), at(1000 * SECOND), at(0));
        clock.appended(Sequence(2), at(SECOND), at(SECOND));
        clock.read(Sequence(2), at(900 * SECOND), at(SECOND));
        let time = clock.at(at(SECOND)).unwrap();
        assert_eq!((time.at_least, time.at_most), (at(900 * SECOND), Some(at(900 * SECOND))));
    }

    #[test]
    fn a_clock_that_went_forward_is_noticed_by_any_entry() {
        let mut clock = LogClock::default();
        clock.appended(Sequence(1), at(0), at(0));
        clock.read(Sequence(1), at(100 * SECOND), at(0));
        clock.read(Sequence(2), at(200 * SECOND), at(SECOND));
        let time = clock.at(at(SECOND)).unwrap();
        assert_eq!(time, LogTime { at_least: at(200 * SECOND), at_most: None });
    }

    #[test]
    fn one_append_in_a_while_is_a_sample() {
        let mut clock = LogClock::default();
        let sampled = (0..1000).filter(|milli| clock.samples(at(milli * 1000))).count();
        assert_eq!(sampled, 10);
    }

    proptest! {
        /// The true time always lies between the bounds, whatever the delays are.
        #[test]
        fn the_true_time_is_within_the_bounds(
            ahead in -1_000_000_000_i64..1_000_000_000,
            steps in prop::collection::vec((0..5 * SECOND, 0..SECOND, 0..SECOND, any::<bool>()), 1..50),
        ) {
            let mut clock = LogClock::default();
            let mut now = 2000 * SECOND;
            for (sequence, (wait, there, back, own)) in (1..).zip(steps) {
                now += wait;
                let (sent, stored) = (now, now + there);
                now = stored + back;
                clock.read(Sequence(sequence), at(stored + ahead), at(now));
                if own {
                    clock.appended(Sequence(sequence), at(sent), at(now));
                }
                let time = clock.at(at(now)).unwrap();
                prop_assert!(time.at_least <= at(now + ahead));
                prop_assert!(time.at_most.is_none_or(|most| at(now + ahead) <= most));
            }
        }
    }
}
