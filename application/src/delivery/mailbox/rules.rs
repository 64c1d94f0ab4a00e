//! The rules of a mailbox: what supersedes what, when it is full, what is offered again.

use doorstep_domain::ports::Attempt;
use doorstep_domain::{Outcome, Timestamp, Topic};

use super::entry::{Entry, EntryState, NIL};
use super::{AGAIN, Acked, CHANGED, HELD, Mailroom, Push};

impl Mailroom {
    /// Whether the mailbox is full. Entries that are in flight or in the inbox do not count.
    pub(super) fn is_full(&self, mailbox: u32, max_per_user: usize) -> bool {
        self.mailboxes[mailbox as usize].waiting as usize >= max_per_user
    }

    /// The entry to drop when the mailbox is full.
    pub(super) fn oldest_waiting(&self, mailbox: u32) -> Option<u32> {
        self.position(mailbox, |e| e.state == EntryState::Waiting && e.kept.is_none())
    }

    /// The waiting entry that a new one with this topic replaces.
    pub(super) fn waiting_with_topic(&self, mailbox: u32, topic: Option<&Topic>) -> Option<u32> {
        topic?;
        self.position(mailbox, |e| {
            e.state == EntryState::Waiting && e.kept.is_none() && e.topic.as_ref() == topic
        })
    }

    /// Whether a newer entry with the same topic was accepted while this one was pushed or in flight. If so, this
    /// one is replaced when it waits again.
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

    /// Ends an entry: removes it or, if it is in the inbox, keeps it until the inbox has recorded the end.
    pub(super) fn end(&mut self, index: u32) -> Acked {
        let kept = self.entries[index as usize].kept;
        if kept.is_none() {
            return Acked { notification: self.remove(index), kept };
        }
        self.set_state(index, EntryState::Acked);
        self.due.unset(&mut self.entries, index);
        Acked { notification: self.copy_of(index), kept }
    }

    /// Marks the entry as being pushed and returns what to push.
    pub(super) fn start_push(&mut self, mailbox: u32, index: u32) -> Push {
        self.due.unset(&mut self.entries, index);
        self.set_state(index, EntryState::Pushing);
        let entry = &self.entries[index as usize];
        self.mailboxes[mailbox as usize].cursor = entry.next;
        let attempt = entry.attempt.unwrap_or(Attempt::FIRST);
        let notification = self.copy_of(index);
        Push { notification, attempt, deadline: entry.expires_at(), repeats: entry.repeats }
    }

    /// No connection took the entry that was being pushed: it waits on, or its TTL has ended.
    pub(super) fn put_back(
        &mut self,
        index: u32,
        now: Timestamp,
        retry_at: Option<Timestamp>,
    ) -> Option<(Acked, Outcome)> {
        let entry = &self.entries[index as usize];
        let (mailbox, next, end) = (entry.mailbox, entry.next, entry.expires_at());
        if now >= end {
            // The flush still has the hold, so the mailbox must stay even if it is empty.
            let notification = self.take(index);
            return Some((Acked { notification, kept: None }, Outcome::Expired));
        }
        self.entries[index as usize].full = retry_at.is_some();
        self.return_to_waiting(index, retry_at.unwrap_or(end));
        let here = &mut self.mailboxes[mailbox as usize];
        if here.cursor == next {
            // No entry before it waits, because it was the first one when its push began.
            here.cursor = index;
        } else {
            self.rewind(mailbox);
        }
        None
    }

    /// The entry waits again, and becomes due at this time or when its TTL ends, whichever is sooner.
    pub(super) fn return_to_waiting(&mut self, index: u32, look_at: Timestamp) {
        let end = self.entries[index as usize].expires_at();
        self.set_state(index, EntryState::Waiting);
        self.due.set(&mut self.entries, index, look_at.min(end));
    }

    /// After a connection came or went: entries in flight wait again, in the same attempt.
    pub(super) fn offer_again_if_changed(&mut self, mailbox: u32) {
        let here = &mut self.mailboxes[mailbox as usize];
        if here.flags & CHANGED == 0 {
            return;
        }
        here.flags &= !(CHANGED | AGAIN);
        let mut index = here.first;
        while index != NIL {
            let entry = &self.entries[index as usize];
            let (next, end) = (entry.next, entry.expires_at());
            if entry.state == EntryState::InFlight {
                self.due.unset(&mut self.entries, index);
                self.entries[index as usize].repeats = 0;
                self.return_to_waiting(index, end);
            }
            index = next;
        }
        self.rewind(mailbox);
    }

    /// The flush gives the hold back.
    pub(super) fn release(&mut self, mailbox: u32) {
        self.mailboxes[mailbox as usize].flags &= !(HELD | AGAIN);
        self.close_if_done(mailbox);
    }

    /// Removes entries that are in the inbox. This is not their end.
    pub(super) fn forget(&mut self, mailbox: u32, such: impl Fn(&Entry) -> bool) {
        while let Some(index) = self.position(mailbox, &such) {
            self.take(index);
        }
    }
}
