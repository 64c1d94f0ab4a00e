//! The lists and the directory under the mailboxes: what keeps the indices right.

use std::hash::BuildHasher;

use doorstep_domain::ports::{Attempt, EnteredBy};
use doorstep_domain::{Notification, Outcome, Timestamp, Ttl, UserId};
use hashbrown::HashTable;
use slab::Slab;

use super::{AGAIN, Acked, CHANGED, HELD, LOOK, LOOK_LATER, LOOKING, Mailbox, Mailroom, Push};
use crate::delivery::Rule;
use crate::delivery::entry::{Entry, NIL, State};

/// Below so many slots, shrinking is not worth the copying.
const WORTH_SHRINKING: usize = if cfg!(test) { 4 } else { 1024 };

/// A slab's key as a link. The node's limits keep a mailroom far below four billion entries.
fn link(key: usize) -> u32 {
    u32::try_from(key).expect("a mailroom has fewer than 2^32 entries")
}

impl Mailroom {
    pub(super) fn find(&self, user: &UserId) -> Option<u32> {
        let hash = self.hasher.hash_one(user);
        self.directory.find(hash, |&m| self.mailboxes[m as usize].user == *user).copied()
    }

    /// Makes a mailbox for a user who has none.
    pub(super) fn open(&mut self, user: UserId) -> u32 {
        let hash = self.hasher.hash_one(&user);
        let mailbox = Mailbox { user, first: NIL, last: NIL, cursor: NIL, len: 0, flags: 0 };
        let key = link(self.mailboxes.insert(mailbox));
        let (hasher, mailboxes) = (&self.hasher, &self.mailboxes);
        self.directory.insert_unique(hash, key, |&m| hasher.hash_one(&mailboxes[m as usize].user));
        key
    }

    /// Removes the mailbox when nothing is in it and nobody is at it.
    pub(super) fn close_if_done(&mut self, mailbox: u32) {
        let here = &self.mailboxes[mailbox as usize];
        if here.first != NIL || here.flags & (HELD | LOOK | LOOKING | LOOK_LATER) != 0 {
            return;
        }
        let user = self.mailboxes.remove(mailbox as usize).user;
        let hash = self.hasher.hash_one(&user);
        if let Ok(found) = self.directory.find_entry(hash, |&m| m == mailbox) {
            found.remove();
        }
    }

    /// Puts a notification before the entry `before`, or at the end if that is [`NIL`].
    pub(super) fn insert(
        &mut self,
        mailbox: u32,
        n: Notification,
        ttl: Ttl,
        kept: Option<EnteredBy>,
        before: u32,
    ) -> u32 {
        let entry = Entry::new(n, ttl, kept, mailbox);
        self.bytes += entry.bytes();
        let due = entry.expires_at();
        let index = link(self.entries.insert(entry));
        self.link_before(index, before);
        self.expiries.set(&mut self.entries, index, due);
        let here = &mut self.mailboxes[mailbox as usize];
        here.len = here.len.saturating_add(1);
        if here.cursor == NIL {
            here.cursor = index;
        }
        index
    }

    fn link_before(&mut self, index: u32, before: u32) {
        let here = &mut self.mailboxes[self.entries[index as usize].mailbox as usize];
        let prev = if before == NIL {
            std::mem::replace(&mut here.last, index)
        } else {
            std::mem::replace(&mut self.entries[before as usize].prev, index)
        };
        if prev == NIL {
            here.first = index;
        } else {
            self.entries[prev as usize].next = index;
        }
        let entry = &mut self.entries[index as usize];
        (entry.prev, entry.next) = (prev, before);
    }

    /// Takes an entry out of every list; its mailbox stays, even if it is empty now.
    pub(super) fn take(&mut self, index: u32) -> Notification {
        self.expiries.unset(&mut self.entries, index);
        let entry = self.entries.remove(index as usize);
        self.bytes -= entry.bytes();
        if entry.limited {
            self.limited_went.push((entry.kind.clone(), entry.bytes()));
        }
        match entry.state {
            State::InFlight => self.in_flight -= 1,
            State::Acked | State::Marked => self.ended -= 1,
            State::Waiting | State::Pushing => {}
        }
        let here = &mut self.mailboxes[entry.mailbox as usize];
        here.len = here.len.saturating_sub(1);
        if here.cursor == index {
            here.cursor = entry.next;
        }
        match entry.prev {
            NIL => here.first = entry.next,
            prev => self.entries[prev as usize].next = entry.next,
        }
        match entry.next {
            NIL => here.last = entry.prev,
            next => self.entries[next as usize].prev = entry.prev,
        }
        let user = here.user.clone();
        entry.into_notification(user)
    }

    /// Takes an entry out, and its mailbox with it if that was the last.
    pub(super) fn remove(&mut self, index: u32) -> Notification {
        let mailbox = self.entries[index as usize].mailbox;
        let notification = self.take(index);
        self.close_if_done(mailbox);
        notification
    }

    /// Ends an entry: it goes, or (if the inbox has to be told) stays until the inbox knows.
    pub(super) fn end(&mut self, index: u32) -> Acked {
        let entry = &mut self.entries[index as usize];
        let kept = entry.kept;
        if kept.is_none() {
            return Acked { notification: self.remove(index), kept };
        }
        if entry.state == State::InFlight {
            self.in_flight -= 1;
        }
        entry.state = State::Acked;
        self.ended += 1;
        self.expiries.unset(&mut self.entries, index);
        let entry = &self.entries[index as usize];
        let user = &self.mailboxes[entry.mailbox as usize].user;
        Acked { notification: entry.notification(user), kept }
    }

    /// Marks the entry as being pushed and says what to push.
    pub(super) fn hand_out(&mut self, mailbox: u32, index: u32) -> Push {
        self.expiries.unset(&mut self.entries, index);
        let here = &mut self.mailboxes[mailbox as usize];
        let entry = &mut self.entries[index as usize];
        here.cursor = entry.next;
        entry.state = State::Pushing;
        let attempt = entry.attempt.unwrap_or(Attempt::FIRST);
        Push {
            notification: entry.notification(&here.user),
            attempt,
            deadline: entry.expires_at(),
            slot: index,
        }
    }

    /// Nobody took the entry that was being pushed: it waits on, or has ended meanwhile.
    pub(super) fn put_back(
        &mut self,
        index: u32,
        now: Timestamp,
        retry_at: Option<Timestamp>,
    ) -> Option<(Acked, Outcome)> {
        let entry = &mut self.entries[index as usize];
        entry.state = State::Waiting;
        if retry_at.is_some() {
            // Somebody may have had it before the push failed.
            entry.attempt.get_or_insert(Attempt::FIRST);
        }
        let (mailbox, end) = (entry.mailbox, entry.expires_at());
        if now >= end {
            // The flush still has the hold: the mailbox must outlive its last entry.
            let notification = self.take(index);
            return Some((Acked { notification, kept: None }, Outcome::Expired));
        }
        self.expiries.set(&mut self.entries, index, retry_at.map_or(end, |at| at.min(end)));
        self.rewind(mailbox);
        None
    }

    /// After a connection came or went: what is in flight waits again, in the same attempt.
    pub(super) fn offer_again_if_changed(&mut self, mailbox: u32) {
        let here = &mut self.mailboxes[mailbox as usize];
        if here.flags & CHANGED == 0 {
            return;
        }
        here.flags &= !(CHANGED | AGAIN);
        let mut index = here.first;
        while index != NIL {
            let entry = &self.entries[index as usize];
            let (next, end, in_flight) =
                (entry.next, entry.expires_at(), entry.state == State::InFlight);
            if in_flight {
                self.expiries.unset(&mut self.entries, index);
                self.entries[index as usize].state = State::Waiting;
                self.in_flight -= 1;
                self.expiries.set(&mut self.entries, index, end);
            }
            index = next;
        }
        self.rewind(mailbox);
    }

    /// The next look begins with the oldest.
    pub(super) fn rewind(&mut self, mailbox: u32) {
        let here = &mut self.mailboxes[mailbox as usize];
        here.cursor = here.first;
    }

    /// The flush gives the hold back.
    pub(super) fn release(&mut self, mailbox: u32) {
        self.mailboxes[mailbox as usize].flags &= !(HELD | AGAIN);
        self.close_if_done(mailbox);
    }

    /// Whether a newer one of the same topic came while this one was pushed or in flight: now that it waits
    /// again, it is replaced after all.
    pub(super) fn superseded(&self, index: u32) -> bool {
        let entry = &self.entries[index as usize];
        if entry.topic.is_none() || entry.kept.is_some() {
            return false;
        }
        let mut later = entry.next;
        while later != NIL {
            let other = &self.entries[later as usize];
            if other.topic == entry.topic && other.kept.is_none() {
                return true;
            }
            later = other.next;
        }
        false
    }

    /// The oldest entry of the mailbox that is such.
    pub(super) fn position(&self, mailbox: u32, such: impl Fn(&Entry) -> bool) -> Option<u32> {
        let mut index = self.mailboxes[mailbox as usize].first;
        while index != NIL {
            let entry = &self.entries[index as usize];
            if such(entry) {
                return Some(index);
            }
            index = entry.next;
        }
        None
    }

    /// Drops entries that the inbox remembers; they do not end by it.
    pub(super) fn forget(&mut self, mailbox: u32, such: impl Fn(&Entry) -> bool) {
        while let Some(index) = self.position(mailbox, &such) {
            self.take(index);
        }
    }

    /// Whether the mailbox has as many as may wait in it. What the inbox keeps does not count.
    pub(super) fn full(&self, mailbox: u32, max_per_user: usize) -> bool {
        let max_per_user = max_per_user.min(Rule::MOST_PER_USER);
        let here = &self.mailboxes[mailbox as usize];
        if usize::from(here.len) < max_per_user {
            return false;
        }
        let (mut index, mut count) = (here.first, 0);
        while index != NIL {
            let entry = &self.entries[index as usize];
            count += usize::from(entry.kept.is_none());
            index = entry.next;
        }
        count >= max_per_user
    }

    /// Gives memory back when little of it is used: it stays proportional to what waits.
    ///
    /// Moves every entry, so no index may be held across it. Halving at a quarter's load makes it cost a
    /// constant a removed entry.
    pub(in crate::delivery) fn shrink(&mut self) {
        let capacity = self.entries.capacity();
        if capacity < WORTH_SHRINKING || self.entries.len() >= capacity / 4 {
            return;
        }
        let mut old = std::mem::replace(self, Self::new(self.hasher.clone()));
        self.entries = Slab::with_capacity(old.entries.len() * 2);
        self.mailboxes = Slab::with_capacity(old.mailboxes.len());
        self.directory = HashTable::with_capacity(old.mailboxes.len());
        (self.in_flight, self.ended, self.bytes) = (old.in_flight, old.ended, old.bytes);
        for (_, there) in old.mailboxes {
            let mailbox = self.open(there.user);
            self.mailboxes[mailbox as usize].flags = there.flags;
            self.mailboxes[mailbox as usize].len = there.len;
            let mut index = there.first;
            while index != NIL {
                let mut entry = old.entries.remove(index as usize);
                index = entry.next;
                let (timed, due) = (std::mem::take(&mut entry.timed), entry.due);
                entry.mailbox = mailbox;
                let moved = link(self.entries.insert(entry));
                self.link_before(moved, NIL);
                if timed {
                    self.expiries.set(&mut self.entries, moved, due);
                }
            }
            self.rewind(mailbox);
        }
    }
}
