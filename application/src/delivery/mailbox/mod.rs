//! The mailboxes of many users as one pure data structure: no async, no clock, no lock.
//!
//! Each method reports one event with the time at which it happened, and returns what to do. This way the
//! invariants can be tested on arbitrary schedules, and a model checker can interleave the calls.
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | all events except those of a flush |
//! | `flush` | emptying a mailbox, push by push |
//! | `rules` | when an entry is superseded, when a mailbox is full, which entries are offered again |
//! | `entry`, `lists` | one entry; the links and tables of all entries |
//! | `traces` | the traces of those that belong to one |
//! | `due` | which entries become due when |
//! | `claimed` | notifications that a stopped node left |
//! | `recall` | notifications that their sender takes back |
//! | `kept` | notifications that are kept in the inbox |
//! | `shared` | notifications in the log that several nodes share |
//! | `shards` | many mailrooms, each under its own lock |

use std::sync::Arc;

use doorstep_domain::ports::{Attempt, EnteredBy};
use doorstep_domain::{Kind, Notification, NotificationId, Outcome, Timestamp, Ttl, UserId};
use foldhash::fast::SeedableRandomState;
use hashbrown::HashTable;
use slab::Slab;

use self::due::DueIndex;
use self::entry::{Entry, NIL};
use self::traces::Traces;
use super::census::Census;
use super::policy::{Overflow, Rule};

mod claimed;
mod due;
mod entry;
mod flush;
mod kept;
mod lists;
#[cfg(test)]
mod properties;
mod recall;
mod rules;
mod shards;
mod shared;
mod traces;

pub(super) use self::entry::EntryState;
pub(super) use self::flush::{Next, Push, PushResult};
pub(super) use self::recall::{ItemHere, TakenBack};
pub(super) use self::shards::Mailrooms;

/// The mailboxes of some users.
#[derive(Default)]
pub(super) struct Mailroom {
    hasher: SeedableRandomState,
    /// Finds a user's mailbox. The user id is stored once, in the mailbox.
    directory: HashTable<u32>,
    mailboxes: Slab<Mailbox>,
    entries: Slab<Entry>,
    /// Finds an entry by its id. The id is stored once, in the entry.
    ids: HashTable<u32>,
    due: DueIndex,
    traces: Traces,
    /// What waits, over all mailrooms.
    census: Arc<Census>,
    in_flight: usize,
    ended: usize,
    bytes: usize,
    /// Removed entries whose kind has its own limits, not yet reported to the capacity.
    removed_limited: Vec<(Kind, usize)>,
}

/// One user's notifications, in order. A user without notifications has no mailbox.
struct Mailbox {
    user: UserId,
    first: u32,
    last: u32,
    /// Where a flush continues. **No entry before it waits.**
    cursor: u32,
    /// How many entries wait. Entries that are in the inbox do not count.
    waiting: u32,
    flags: u8,
}

/// A flush has the hold.
const HELD: u8 = 1;
/// Something may have changed since the current push began: continue after 'nobody' or 'full'.
const AGAIN: u8 = 2;
/// A connection came or went since the current push began: offer entries in flight again.
const CHANGED: u8 = 4;
/// The next flush loads from the inbox.
const LOOK: u8 = 8;
/// A load from the inbox is under way: forget no entry that it may return again.
const LOOKING: u8 = 16;
/// The inbox had more than one page.
const MORE: u8 = 32;
/// A load from the inbox failed and is repeated later.
const LOOK_LATER: u8 = 64;
/// An item was read, or removed from the inbox, during the load: what it returns is discarded.
const STALE: u8 = 128;

/// An entry that has just been acknowledged.
#[derive(Debug)]
pub(super) struct Acked {
    pub(super) notification: Notification,
    /// Set if it is in the inbox, where the end must be recorded.
    pub(super) kept: Option<EnteredBy>,
}

/// Whether a notification entered its user's mailbox.
#[derive(Debug)]
pub(super) enum Admission {
    /// It is in. These notifications made room, each with its outcome.
    In(Vec<(Notification, Outcome)>),
    /// The mailbox is full. Nothing has changed.
    Full(Notification),
}

/// How the limit of a mailbox (`max_per_user`) is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    /// A full mailbox takes nothing, whatever the rule says.
    Ask,
    /// No limit: the user is reading, so entries do not wait for long.
    Open,
    /// The rule decides: the oldest is dropped, or the new one is refused.
    Enforce,
}

/// The entries that became due.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// Their TTL has ended.
    pub(super) expired: Vec<Notification>,
    /// The mailboxes of these users must be flushed.
    pub(super) flush: Vec<UserId>,
}

/// How much a mailroom holds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Held {
    /// Notifications that wait or are being pushed.
    pub waiting: usize,
    /// Notifications that were pushed and are not acknowledged yet.
    pub in_flight: usize,
    /// Users who have a mailbox.
    pub mailboxes: usize,
    /// Bytes of payload of all that is held.
    pub bytes: usize,
}

impl Mailroom {
    pub(super) fn new(hasher: SeedableRandomState, census: Arc<Census>) -> Self {
        Self { hasher, census, ..Self::default() }
    }

    /// Puts a notification at the end of its user's mailbox, if the bound allows it.
    ///
    /// `limited`: its kind has its own limits, and [`take_removed_limited`](Self::take_removed_limited) reports
    /// when it leaves.
    pub(super) fn accept(
        &mut self,
        n: Notification,
        ttl: Ttl,
        rule: &Rule,
        bound: Bound,
        limited: bool,
    ) -> Admission {
        let mut gone = Vec::new();
        let mailbox = if let Some(mailbox) = self.find(&n.user_id) {
            let max_per_user = rule.max_per_user.min(Rule::MOST_PER_USER);
            if let Some(index) = self.waiting_with_topic(mailbox, n.topic.as_ref()) {
                gone.push((self.take(index), Outcome::Replaced));
            } else if bound != Bound::Open && self.is_full(mailbox, max_per_user) {
                if bound == Bound::Ask || rule.overflow == Overflow::Reject {
                    return Admission::Full(n);
                }
                while self.is_full(mailbox, max_per_user)
                    && let Some(oldest) = self.oldest_waiting(mailbox)
                {
                    gone.push((self.take(oldest), Outcome::Dropped));
                }
            }
            mailbox
        } else {
            self.open(n.user_id.clone())
        };
        let index = self.insert(mailbox, n, ttl, None, NIL);
        self.entries[index as usize].limited = limited;
        Admission::In(gone)
    }

    /// A connection of the user came or went: entries in flight are offered again, unless they have ended (the
    /// pusher skips a connection that has an entry already). The caller flushes afterwards.
    pub(super) fn presence_changed(&mut self, user: &UserId) {
        let Some(mailbox) = self.find(user) else { return };
        self.mailboxes[mailbox as usize].flags |= CHANGED;
        if self.mailboxes[mailbox as usize].flags & HELD == 0 {
            self.offer_again_if_changed(mailbox);
        }
    }

    /// A connection of this user acknowledged this id. Returns the entry that this ends; `None` for an id that is
    /// unknown, another user's, never pushed, or acknowledged before.
    pub(super) fn acknowledged(&mut self, user: &UserId, id: NotificationId) -> Option<Acked> {
        let mailbox = self.find(user)?;
        let counts = |entry: &Entry| match entry.state {
            // A fast client acknowledges before the pusher returns.
            EntryState::Pushing | EntryState::InFlight => true,
            // The acknowledgement is late, or comes from an earlier connection.
            EntryState::Waiting => entry.attempt.is_some(),
            EntryState::Acked | EntryState::Marked => false,
        };
        let index = self.with_id(mailbox, id, counts)?;
        Some(self.end(index))
    }

    /// Handles at most `limit` entries that are due by now. Returns true if there may be more.
    pub(super) fn due(&mut self, now: Timestamp, limit: usize, due: &mut Due) -> bool {
        for _ in 0..limit {
            let Some(index) = self.due.first(now) else {
                return false;
            };
            let entry = &self.entries[index as usize];
            if now >= entry.expires_at() {
                let was_tried = entry.attempt.is_some() || entry.full;
                let expired = self.remove(index);
                if was_tried {
                    due.flush.push(expired.user_id.clone());
                }
                due.expired.push(expired);
                continue;
            }
            // Not its end: an acknowledgement timed out, or a push must be repeated.
            self.due.unset(&mut self.entries, index);
            let entry = &mut self.entries[index as usize];
            let (mailbox, end) = (entry.mailbox, entry.expires_at());
            if entry.state == EntryState::InFlight {
                entry.attempt = entry.attempt.map(Attempt::next);
                entry.repeats = entry.repeats.saturating_add(1);
                self.set_state(index, EntryState::Waiting);
            }
            self.due.set(&mut self.entries, index, end);
            self.rewind(mailbox);
            due.flush.push(self.mailboxes[mailbox as usize].user.clone());
        }
        true
    }

    /// When the next entry becomes due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.next()
    }

    /// The state of a notification that is here and has not ended.
    pub(super) fn state(&self, user: &UserId, id: NotificationId) -> Option<EntryState> {
        let mailbox = self.find(user)?;
        let index = self.with_id(mailbox, id, |_| true)?;
        Some(self.entries[index as usize].state)
    }

    /// Takes out at least `limit` notifications (all, if there are fewer), whole mailboxes at a time, each in
    /// order. Entries that are in the inbox are removed without being returned.
    pub(super) fn drain(&mut self, limit: usize) -> Vec<Notification> {
        let mut out = Vec::new();
        while out.len() < limit {
            let Some((mailbox, _)) = self.mailboxes.iter().next() else { break };
            let mailbox = u32::try_from(mailbox).unwrap_or(NIL);
            self.mailboxes[mailbox as usize].flags = 0;
            let mut index = self.mailboxes[mailbox as usize].first;
            if index == NIL {
                self.close_if_done(mailbox);
            }
            while index != NIL {
                let next = self.entries[index as usize].next;
                let kept = self.entries[index as usize].kept;
                let notification = self.remove(index);
                if kept.is_none() {
                    out.push(notification);
                }
                index = next;
            }
        }
        out
    }

    /// How many of the user's entries wait, and how many are in flight.
    pub(super) fn held_for(&self, user: &UserId) -> (usize, usize) {
        let Some(mailbox) = self.find(user) else { return (0, 0) };
        let (mut waiting, mut in_flight, mut index) =
            (0, 0, self.mailboxes[mailbox as usize].first);
        while index != NIL {
            let entry = &self.entries[index as usize];
            match entry.state {
                EntryState::Waiting => waiting += 1,
                EntryState::Pushing | EntryState::InFlight => in_flight += 1,
                EntryState::Acked | EntryState::Marked => {}
            }
            index = entry.next;
        }
        (waiting, in_flight)
    }

    pub(super) fn held(&self) -> Held {
        Held {
            waiting: self.entries.len() - self.in_flight - self.ended,
            in_flight: self.in_flight,
            mailboxes: self.mailboxes.len(),
            bytes: self.bytes,
        }
    }

    /// Takes the kinds and bytes of entries with their own limits that were removed since the last call.
    pub(super) fn take_removed_limited(&mut self) -> Vec<(Kind, usize)> {
        std::mem::take(&mut self.removed_limited)
    }

    /// How many entries there are, and the bytes of their payloads.
    pub(super) fn load(&self) -> (usize, usize) {
        (self.entries.len(), self.bytes)
    }
}
