//! Reading a table in steps, when one statement would take too long.
//!
//! Deleted rows that an old snapshot still needs are passed one by one, millions perhaps. A step reads a range of
//! sequence numbers. The number of deleted rows in a range is not known, so the next range is narrower after a long step
//! and wider after a short one. That way the numbers of billions of rows that were removed long ago take a few steps.

use std::ops::RangeInclusive;
use std::time::Duration;

const FIRST_WIDTH: i64 = 100_000;
/// A step that takes longer is followed by narrower ones.
const LONG: Duration = Duration::from_millis(250);

/// The next range to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Steps {
    begin: i64,
    width: i64,
}

impl Steps {
    /// All numbers from this one on.
    pub(super) fn from(begin: i64) -> Self {
        Self { begin, width: FIRST_WIDTH }
    }

    pub(super) fn range(&self) -> RangeInclusive<i64> {
        self.begin..=self.begin.saturating_add(self.width - 1)
    }

    /// The range was read. Returns false after the last one.
    pub(super) fn read(&mut self, took: Duration) -> bool {
        let Some(next) = self.range().end().checked_add(1) else { return false };
        self.begin = next;
        self.width =
            if took > LONG { (self.width / 2).max(1) } else { self.width.saturating_mul(2) };
        true
    }

    /// The range was not read in time. Returns false if it cannot be narrowed.
    pub(super) fn too_wide(&mut self) -> bool {
        let could_be_narrower = self.width > 1;
        self.width = (self.width / 8).max(1);
        could_be_narrower
    }
}

/// The parts of these ranges that are in `step`.
pub(super) fn within(
    ranges: &[RangeInclusive<i64>],
    step: &RangeInclusive<i64>,
) -> Vec<RangeInclusive<i64>> {
    let cut =
        ranges.iter().map(|range| *range.start().max(step.start())..=*range.end().min(step.end()));
    cut.filter(|range| !range.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_read_once_and_billions_take_few_steps() {
        let mut steps = Steps::from(0);
        let (mut next, mut count) = (0, 0);
        loop {
            let range = steps.range();
            assert_eq!(*range.start(), next);
            count += 1;
            if !steps.read(Duration::ZERO) {
                assert_eq!(*range.end(), i64::MAX);
                break;
            }
            next = range.end() + 1;
        }
        assert!(count < 64, "{count}");
    }

    #[test]
    fn what_takes_long_is_read_in_narrower_steps() {
        let mut steps = Steps::from(7);
        assert!(steps.too_wide());
        assert_eq!(steps.range(), 7..=7 + FIRST_WIDTH / 8 - 1, "the same numbers again");
        assert!(steps.read(LONG * 2));
        assert_eq!(steps.range().count(), usize::try_from(FIRST_WIDTH / 16).unwrap());
        assert!(steps.read(Duration::ZERO));
        assert_eq!(steps.range().count(), usize::try_from(FIRST_WIDTH / 8).unwrap());
        while steps.range().count() > 7 {
            assert!(steps.too_wide());
        }
        assert!(steps.too_wide(), "a few numbers can still be read one by one");
        assert_eq!(steps.range().count(), 1);
        assert!(!steps.too_wide());
        assert!(steps.read(LONG * 2));
        assert_eq!(steps.range().count(), 1);
    }

    #[test]
    fn ranges_are_cut() {
        let ranges = [i64::MIN..=3, 5..=9, 20..=i64::MAX];
        assert_eq!(within(&ranges, &(0..=6)), [0..=3, 5..=6]);
        assert_eq!(within(&ranges, &(10..=19)), []);
        assert_eq!(within(&ranges, &(15..=30)), [20..=30]);
    }
}
