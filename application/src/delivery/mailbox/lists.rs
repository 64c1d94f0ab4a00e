//! The links of the mailboxes and the two tables (users, ids). This file keeps the indices consistent; the rules
//! are elsewhere.

use std::hash::BuildHasher;

use doorstep_domain::ports::EnteredBy;
use doorstep_domain::{Notification, NotificationId, Ttl, UserId};
use hashbrown::HashTable;
use slab::Slab;

use super::entry::{Entry, EntryState, NIL};
use super::{HELD, LOOK, LOOK_LATER, LOOKING, Mailbox, Mailroom};

/// With fewer slots than this, shrinking is not worth the copy.
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

    /// Creates a mailbox for a user who has none.
    pub(super) fn open(&mut self, user: UserId) -> u32 {
        let hash = self.hasher.hash_one(&user);
        let mailbox = Mailbox { user, first: NIL, last: NIL, cursor: NIL, waiting: 0, flags: 0 };
        let key = link(self.mailboxes.insert(mailbox));
        let (hasher, mailboxes) = (&self.hasher, &self.mailboxes);
        self.directory.insert_unique(hash, key, |&m| hasher.hash_one(&mailboxes[m as usize].user));
        key
    }

    /// Removes the mailbox if it is empty and neither a flush nor a load uses it.
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
        let (slot, trace) = (self.census.slot_of(&n.kind), n.trace);
        let entry = Entry::new(n, ttl, kept, slot, mailbox);
        self.bytes += entry.bytes();
        let (due, place) = (entry.expires_at(), entry.census_place());
        let index = link(self.entries.insert(entry));
        place.inspect(|place| self.census.entered(*place));
        self.traces.put(index, trace);
        self.link_before(index, before);
        self.index_id(index);
        self.due.set(&mut self.entries, index, due);
        let here = &mut self.mailboxes[mailbox as usize];
        here.waiting += u32::from(kept.is_none());
        if here.cursor == NIL {
            here.cursor = index;
        }
        index
    }

    fn index_id(&mut self, index: u32) {
        let (hasher, entries) = (&self.hasher, &self.entries);
        let hash = |&i: &u32| hasher.hash_one(entries[i as usize].id);
        self.ids.insert_unique(hash(&index), index, hash);
    }

    /// Finds an entry of the mailbox with this id for which `such` holds. A sender may have sent one id twice.
    pub(super) fn with_id(
        &self,
        mailbox: u32,
        id: NotificationId,
        such: impl Fn(&Entry) -> bool,
    ) -> Option<u32> {
        self.find_id(id, |entry| entry.id == id && entry.mailbox == mailbox && such(entry))
    }

    /// An entry of any mailbox with this id for which `such` holds.
    pub(super) fn find_id(&self, id: NotificationId, such: impl Fn(&Entry) -> bool) -> Option<u32> {
        let is_it = |&index: &u32| such(&self.entries[index as usize]);
        self.ids.find(self.hasher.hash_one(id), is_it).copied()
    }

    /// Changes the state of an entry and updates the counts.
    pub(super) fn set_state(&mut self, index: u32, state: EntryState) {
        let entry = &mut self.entries[index as usize];
        let before = std::mem::replace(&mut entry.state, state);
        let (mailbox, kept) = (entry.mailbox, entry.kept.is_some());
        if before.waits() != state.waits()
            && let Some(place) = entry.census_place()
        {
            if state.waits() { self.census.entered(place) } else { self.census.left(place) }
        }
        self.count_out(mailbox, before, kept);
        match state {
            EntryState::InFlight => self.in_flight += 1,
            EntryState::Acked | EntryState::Marked => self.ended += 1,
            EntryState::Waiting => self.mailboxes[mailbox as usize].waiting += u32::from(!kept),
            EntryState::Pushing => {}
        }
    }

    fn count_out(&mut self, mailbox: u32, state: EntryState, kept: bool) {
        match state {
            EntryState::InFlight => self.in_flight -= 1,
            EntryState::Acked | EntryState::Marked => self.ended -= 1,
            EntryState::Waiting => self.mailboxes[mailbox as usize].waiting -= u32::from(!kept),
            EntryState::Pushing => {}
        }
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

    /// A copy of an entry's notification.
    pub(super) fn copy_of(&self, index: u32) -> Notification {
        let entry = &self.entries[index as usize];
        let trace = if entry.traced { self.traces.of(index) } else { None };
        entry.notification(&self.mailboxes[entry.mailbox as usize].user, trace)
    }

    /// Takes an entry out of every list. Its mailbox stays, even if it is empty now.
    pub(super) fn take(&mut self, index: u32) -> Notification {
        self.due.unset(&mut self.entries, index);
        let hash = self.hasher.hash_one(self.entries[index as usize].id);
        if let Ok(found) = self.ids.find_entry(hash, |&i| i == index) {
            found.remove();
        }
        let entry = self.entries.remove(index as usize);
        self.bytes -= entry.bytes();
        if entry.limited {
            self.removed_limited.push((entry.kind.clone(), entry.bytes()));
        }
        if entry.state.waits() {
            entry.census_place().inspect(|place| self.census.left(*place));
        }
        let trace = if entry.traced { self.traces.take(index) } else { None };
        self.count_out(entry.mailbox, entry.state, entry.kept.is_some());
        let here = &mut self.mailboxes[entry.mailbox as usize];
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
        entry.into_notification(user, trace)
    }

    /// Takes an entry out, and removes its mailbox if it is empty now.
    pub(super) fn remove(&mut self, index: u32) -> Notification {
        let mailbox = self.entries[index as usize].mailbox;
        let notification = self.take(index);
        self.close_if_done(mailbox);
        notification
    }

    /// The flush starts again with the oldest entry.
    pub(super) fn rewind(&mut self, mailbox: u32) {
        let here = &mut self.mailboxes[mailbox as usize];
        here.cursor = here.first;
    }

    /// Finds the oldest entry of the mailbox for which `such` holds.
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

    /// Releases memory when little of it is used, so that it stays proportional to the number of entries.
    ///
    /// **Moves every entry, so no index may be held across a call.** Halving at a quarter of the load keeps the
    /// cost per removed entry constant.
    pub(in crate::delivery) fn shrink(&mut self) {
        let capacity = self.entries.capacity();
        if capacity < WORTH_SHRINKING || self.entries.len() >= capacity / 4 {
            return;
        }
        let fresh = Self::new(self.hasher.clone(), self.census.clone());
        let mut old = std::mem::replace(self, fresh);
        self.entries = Slab::with_capacity(old.entries.len() * 2);
        self.mailboxes = Slab::with_capacity(old.mailboxes.len());
        self.directory = HashTable::with_capacity(old.mailboxes.len());
        self.ids = HashTable::with_capacity(old.entries.len());
        (self.in_flight, self.ended, self.bytes) = (old.in_flight, old.ended, old.bytes);
        self.removed_limited = std::mem::take(&mut old.removed_limited);
        for (_, there) in old.mailboxes {
            let mailbox = self.open(there.user);
            self.mailboxes[mailbox as usize].flags = there.flags;
            self.mailboxes[mailbox as usize].waiting = there.waiting;
            let mut index = there.first;
            while index != NIL {
                let mut entry = old.entries.remove(index as usize);
                let trace = if entry.traced { old.traces.take(index) } else { None };
                index = entry.next;
                let (timed, due) = (std::mem::take(&mut entry.timed), entry.due);
                entry.mailbox = mailbox;
                let moved = link(self.entries.insert(entry));
                self.traces.put(moved, trace);
                self.link_before(moved, NIL);
                self.index_id(moved);
                if timed {
                    self.due.set(&mut self.entries, moved, due);
                }
            }
            self.rewind(mailbox);
        }
    }
}
