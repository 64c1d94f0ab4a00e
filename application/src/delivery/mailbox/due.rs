use std::collections::BTreeMap;

use doorstep_domain::Timestamp;
use slab::Slab;

use super::entry::{Entry, NIL};

/// The timers of all entries of a mailroom.
///
/// An ordered map from a millisecond to a list of entries; the links of the lists are in the entries. A timer
/// costs two links per entry, setting or unsetting one touches only its neighbours, and there are never more map
/// nodes than distinct milliseconds.
#[derive(Default)]
pub(super) struct DueIndex {
    lists: BTreeMap<i64, (u32, u32)>,
}

/// The first whole millisecond at or after this time.
fn tick(due: Timestamp) -> i64 {
    due.as_millis().saturating_add(i64::from(due.as_micros().rem_euclid(1000) != 0))
}

impl DueIndex {
    /// Sets the entry's timer, which must not be set. [`Timestamp::MAX`] sets none.
    pub(super) fn set(&mut self, entries: &mut Slab<Entry>, index: u32, due: Timestamp) {
        let entry = &mut entries[index as usize];
        debug_assert!(!entry.timed);
        entry.due = due;
        if due == Timestamp::MAX {
            return;
        }
        entry.timed = true;
        entry.later = NIL;
        let (_, last) = self.lists.entry(tick(due)).or_insert((index, NIL));
        entry.earlier = *last;
        if *last != NIL {
            entries[*last as usize].later = index;
        }
        *last = index;
    }

    /// Unsets the entry's timer, if it is set.
    pub(super) fn unset(&mut self, entries: &mut Slab<Entry>, index: u32) {
        let entry = &mut entries[index as usize];
        if !std::mem::take(&mut entry.timed) {
            return;
        }
        let (earlier, later, tick) = (entry.earlier, entry.later, tick(entry.due));
        if earlier != NIL {
            entries[earlier as usize].later = later;
        }
        if later != NIL {
            entries[later as usize].earlier = earlier;
        }
        // The map holds only the two ends of a list.
        if earlier == NIL && later == NIL {
            self.lists.remove(&tick);
        } else if (earlier == NIL || later == NIL)
            && let Some((first, last)) = self.lists.get_mut(&tick)
        {
            if earlier == NIL {
                *first = later;
            } else {
                *last = earlier;
            }
        }
    }

    /// The entry that is due first, if it is due by now.
    pub(super) fn first(&self, now: Timestamp) -> Option<u32> {
        let (tick, (first, _)) = self.lists.first_key_value()?;
        (*tick <= now.as_millis()).then_some(*first)
    }

    /// When the next entry becomes due.
    pub(super) fn next(&self) -> Option<Timestamp> {
        let (tick, _) = self.lists.first_key_value()?;
        Some(Timestamp::from_micros(tick.saturating_mul(1000)))
    }
}

#[cfg(test)]
impl DueIndex {
    /// How many timers are set, counted along the lists.
    pub(super) fn len(&self, entries: &Slab<Entry>) -> usize {
        let mut count = 0;
        for (first, last) in self.lists.values() {
            let (mut index, mut before) = (*first, NIL);
            while index != NIL {
                let entry = &entries[index as usize];
                assert!(entry.timed && entry.earlier == before);
                count += 1;
                (before, index) = (index, entry.later);
            }
            assert_eq!(*last, before);
        }
        count
    }
}
