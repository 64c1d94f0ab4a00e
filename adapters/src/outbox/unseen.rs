//! Which sequence numbers may still become visible.
//!
//! Transactions commit in another order than that in which the sequence gave them numbers, so a consumer must not only
//! look behind the largest number that it has seen. But a look from the beginning passes all rows that were deleted and
//! that an old snapshot still needs, millions perhaps. So it is remembered which numbers were not seen. A number is
//! settled, and not looked for any more, once every transaction that can have it has ended.

use std::ops::RangeInclusive;

/// Numbers that were not seen: disjoint ranges in order. The last one is open-ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unseen {
    ranges: Vec<RangeInclusive<i64>>,
    mark: Option<Mark>,
}

/// Every transaction that can have one of these numbers has a smaller id than `before`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mark {
    before: i64,
    up_to: i64,
}

impl Unseen {
    pub(super) fn everything() -> Self {
        Self { ranges: vec![i64::MIN..=i64::MAX], mark: None }
    }

    /// The ranges, in order.
    pub(super) fn ranges(&self) -> &[RangeInclusive<i64>] {
        &self.ranges
    }

    /// These were seen, by a transaction with this id, which got it after they were read. In ascending order.
    pub(super) fn seen(&mut self, seqs: &[i64], by: i64) {
        let Some(last) = seqs.last() else { return };
        let mut ranges = Vec::with_capacity(self.ranges.len() + 1);
        let mut seqs = seqs.iter().copied().peekable();
        for range in self.ranges.drain(..) {
            let (mut start, end) = range.into_inner();
            while let Some(seq) = seqs.next_if(|seq| *seq <= end) {
                if seq > start {
                    ranges.push(start..=seq - 1);
                }
                start = start.max(seq.saturating_add(1));
            }
            if start <= end {
                ranges.push(start..=end);
            }
        }
        self.ranges = ranges;
        if self.mark.is_none() && self.ranges.len() > 1 {
            self.mark = Some(Mark { before: by, up_to: *last });
        }
    }

    /// All that is visible up to `up_to` was read in a snapshot in which every transaction with an id below `oldest`
    /// had ended.
    pub(super) fn read(&mut self, up_to: i64, oldest: i64) {
        let Some(mark) = &self.mark else { return };
        if oldest < mark.before || up_to < mark.up_to {
            return;
        }
        let settled = mark.up_to;
        self.mark = None;
        self.ranges.retain_mut(|range| {
            *range = (*range.start()).max(settled + 1)..=*range.end();
            !range.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(unseen: &Unseen) -> Vec<(i64, i64)> {
        unseen.ranges().iter().map(|range| (*range.start(), *range.end())).collect()
    }

    #[test]
    fn numbers_that_are_skipped_are_looked_for_until_their_transactions_have_ended() {
        let mut unseen = Unseen::everything();
        unseen.seen(&[1, 2, 5], 100);
        assert_eq!(ranges(&unseen), [(i64::MIN, 0), (3, 4), (6, i64::MAX)]);
        // The transaction 99 is still open: 3 or 4 may be its.
        unseen.read(i64::MAX, 99);
        assert_eq!(ranges(&unseen).len(), 3);
        unseen.seen(&[4, 7], 120);
        assert_eq!(ranges(&unseen), [(i64::MIN, 0), (3, 3), (6, 6), (8, i64::MAX)]);
        // A batch that was cut short before the mark settles nothing.
        unseen.read(4, 101);
        assert_eq!(ranges(&unseen).len(), 4);
        unseen.read(i64::MAX, 101);
        assert_eq!(ranges(&unseen), [(6, 6), (8, i64::MAX)], "6 is not covered by the mark");
    }

    #[test]
    fn a_steady_stream_leaves_one_range() {
        let mut unseen = Unseen::everything();
        for batch in 0..100_i64 {
            let seqs: Vec<i64> = (batch * 10..batch * 10 + 10).collect();
            unseen.read(i64::MAX, 1000 + batch);
            unseen.seen(&seqs, 1000 + batch);
        }
        assert_eq!(ranges(&unseen), [(1000, i64::MAX)]);
    }
}
