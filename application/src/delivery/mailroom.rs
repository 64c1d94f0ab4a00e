//! The mailboxes of many users as one pure data structure: no async, no clock, no lock.
//!
//! Each method is a thing that happened, told with the time at which it happened, and answers what is to be
//! done. So its promises can be tried on arbitrary schedules, and a model checker can interleave it.
//!
//! A *flush* is how a mailbox is emptied: `begin_flush` gives one caller the hold on it, who then asks
//! `next` for what to do and reports each push with `pushed`, until the answer is to stop. What happens in
//! between (an arrival, an acknowledgement, an expiry) changes the mailbox under the flush's feet; the two
//! flags `AGAIN` and `CHANGED` make sure that it is noticed.

use std::time::Duration;

use doorstep_domain::ports::{Attempt, EnteredBy, Pushed};
use doorstep_domain::{Kind, Notification, NotificationId, Outcome, Timestamp, Ttl, UserId};
use foldhash::fast::SeedableRandomState;
use hashbrown::HashTable;
use slab::Slab;

use super::entry::{Entry, NIL, State};
use super::expiries::Expiries;
use super::policy::{Overflow, Rule};

mod kept;
mod lists;
#[cfg(test)]
mod properties;

/// Some users' mailboxes.
#[derive(Default)]
pub(super) struct Mailroom {
    hasher: SeedableRandomState,
    /// Finds a user's mailbox; the user is kept once, in the mailbox.
    directory: HashTable<u32>,
    mailboxes: Slab<Mailbox>,
    entries: Slab<Entry>,
    expiries: Expiries,
    in_flight: usize,
    ended: usize,
    bytes: usize,
    /// Those of a kind with limits of its own that went since somebody asked.
    limited_went: Vec<(Kind, usize)>,
}

/// One user's notifications, in order. There is none for a user with nothing waiting.
struct Mailbox {
    user: UserId,
    first: u32,
    last: u32,
    /// Nothing before it waits: where a flush goes on.
    cursor: u32,
    len: u16,
    flags: u8,
}

/// A flush has the hold.
const HELD: u8 = 1;
/// Something may have changed since the push that is under way began: do not stop at 'nobody'.
const AGAIN: u8 = 2;
/// A connection came or went since the push that is under way began: offer what is in flight again.
const CHANGED: u8 = 4;
/// The inbox is to be looked at.
const LOOK: u8 = 8;
/// The inbox is being looked at: forget no entry that it may bring once more.
const LOOKING: u8 = 16;
/// The inbox had more than one page.
const MORE: u8 = 32;
/// The inbox did not answer; somebody will look again later.
const LOOK_LATER: u8 = 64;

/// What a flush is to do.
#[derive(Debug)]
pub(super) enum Next {
    /// Push this and report with [`Mailroom::pushed`].
    Push(Push),
    /// Load the user's undelivered items from the inbox and report with [`Mailroom::looked`].
    Look,
    /// This one has ended on the way.
    Ended(Notification, Outcome),
    /// Nothing; the hold is given back.
    Stop,
}

/// A push to be made.
#[derive(Debug)]
pub(super) struct Push {
    pub(super) notification: Notification,
    pub(super) attempt: Attempt,
    pub(super) deadline: Timestamp,
    slot: u32,
}

/// How a push went.
#[derive(Debug, Clone, Copy)]
pub(super) enum Went {
    /// The pusher answered.
    Answered(Pushed),
    /// The pusher failed; try again no sooner than this.
    Failed { retry_at: Timestamp },
}

/// What follows from a push.
#[derive(Debug)]
pub(super) struct AfterPush {
    /// The notification has ended.
    pub(super) ended: Option<(Acked, Outcome)>,
    /// The flush goes on with `next`.
    pub(super) go_on: bool,
}

/// Somebody's acknowledgement was good for something.
#[derive(Debug)]
pub(super) struct Acked {
    pub(super) notification: Notification,
    /// It is in the inbox, which must be told.
    pub(super) kept: Option<EnteredBy>,
}

/// What came due.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// These have ended by their TTL.
    pub(super) expired: Vec<Notification>,
    /// These users' mailboxes are to be flushed.
    pub(super) flush: Vec<UserId>,
}

/// What a mailroom holds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
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
    pub(super) fn new(hasher: SeedableRandomState) -> Self {
        Self { hasher, ..Self::default() }
    }

    /// Puts a notification at the end of its user's mailbox.
    ///
    /// Answers what had to give way: the one it replaces, or the oldest if the mailbox was full. Refuses,
    /// changing nothing, when the mailbox is full and its rule says so. `limited`: its kind has limits of its
    /// own, and when it goes [`limited_that_went`](Self::limited_that_went) says so.
    pub(super) fn accept(
        &mut self,
        n: Notification,
        ttl: Ttl,
        rule: &Rule,
        limited: bool,
    ) -> Result<Option<(Notification, Outcome)>, Notification> {
        let user = n.user_id.clone();
        let mut gone = None;
        let mailbox = if let Some(mailbox) = self.find(&user) {
            let replaced = n.topic.as_ref().and_then(|topic| {
                self.position(mailbox, |e| {
                    e.state == State::Waiting && e.kept.is_none() && e.topic.as_ref() == Some(topic)
                })
            });
            if let Some(index) = replaced {
                gone = Some((self.take(index), Outcome::Replaced));
            } else if self.full(mailbox, rule.max_per_user) {
                if rule.overflow == Overflow::Reject {
                    return Err(n);
                }
                // Rather what nobody has seen than what somebody may just be looking at.
                let oldest = self
                    .position(mailbox, |e| e.state == State::Waiting && e.kept.is_none())
                    .or_else(|| {
                        self.position(mailbox, |e| e.state == State::InFlight && e.kept.is_none())
                    })
                    .or_else(|| self.position(mailbox, |e| e.kept.is_none()));
                match oldest {
                    Some(index) => gone = Some((self.take(index), Outcome::Dropped)),
                    None => return Err(n),
                }
            }
            mailbox
        } else {
            self.open(user)
        };
        let index = self.insert(mailbox, n, ttl, None, NIL);
        self.entries[index as usize].limited = limited;
        Ok(gone)
    }

    /// Takes the hold on the user's mailbox for a flush, if there is something to do and nobody has it.
    /// Whoever has it is told to look again.
    pub(super) fn begin_flush(&mut self, user: &UserId) -> bool {
        let Some(mailbox) = self.find(user) else { return false };
        let mailbox = &mut self.mailboxes[mailbox as usize];
        if mailbox.flags & HELD != 0 {
            mailbox.flags |= AGAIN;
            return false;
        }
        let something = mailbox.cursor != NIL || mailbox.flags & LOOK != 0;
        if something {
            mailbox.flags |= HELD;
        }
        something
    }

    /// What the flush that holds the user's mailbox is to do next.
    pub(super) fn next(&mut self, user: &UserId, now: Timestamp) -> Next {
        let Some(mailbox) = self.find(user) else { return Next::Stop };
        loop {
            self.offer_again_if_changed(mailbox);
            let here = &mut self.mailboxes[mailbox as usize];
            if here.flags & LOOK != 0 {
                here.flags = here.flags & !(LOOK | MORE) | LOOKING;
                return Next::Look;
            }
            let index = here.cursor;
            if index == NIL {
                self.release(mailbox);
                return Next::Stop;
            }
            let entry = &self.entries[index as usize];
            if entry.state != State::Waiting {
                self.mailboxes[mailbox as usize].cursor = entry.next;
                continue;
            }
            if now >= entry.expires_at() {
                return Next::Ended(self.remove(index), Outcome::Expired);
            }
            if self.superseded(index) {
                return Next::Ended(self.remove(index), Outcome::Replaced);
            }
            return Next::Push(self.hand_out(mailbox, index));
        }
    }

    /// Reports how a push went. Unless it says to go on, the hold has been given back.
    pub(super) fn pushed(
        &mut self,
        user: &UserId,
        push: &Push,
        went: Went,
        now: Timestamp,
        ack_timeout: Duration,
    ) -> AfterPush {
        let Some(mailbox) = self.find(user) else {
            return AfterPush { ended: None, go_on: false };
        };
        // It may have ended meanwhile; its slot may even hold another by now.
        let id = push.notification.id;
        let pushing = |e: &Entry| e.id == id && e.mailbox == mailbox && e.state == State::Pushing;
        let index = match self.entries.get(push.slot as usize) {
            Some(entry) if pushing(entry) => Some(push.slot),
            _ => self.position(mailbox, pushing),
        };
        let retry_at = match went {
            Went::Answered(Pushed::Written) => {
                let ended = index.map(|index| (self.end(index), Outcome::Delivered));
                return AfterPush { ended, go_on: true };
            }
            Went::Answered(Pushed::InFlight) => {
                if let Some(index) = index {
                    let entry = &mut self.entries[index as usize];
                    entry.state = State::InFlight;
                    entry.attempt = Some(push.attempt);
                    self.in_flight += 1;
                    self.expiries.set(&mut self.entries, index, now + ack_timeout);
                }
                return AfterPush { ended: None, go_on: true };
            }
            Went::Answered(Pushed::Nobody) => None,
            Went::Failed { retry_at } => Some(retry_at),
        };
        let ended = index.and_then(|index| self.put_back(index, now, retry_at));
        // Who is away will arrive, and a failure is tried again by the timer of what failed. But if that one
        // has ended meanwhile, the answer says nothing of those behind it, and nothing would come back for
        // them. (For the same reason whatever ends one that was tried is followed by a flush.)
        let nothing_to_wait_for = index.is_none() || ended.is_some();
        let here = &mut self.mailboxes[mailbox as usize];
        if nothing_to_wait_for || here.flags & (AGAIN | CHANGED) != 0 {
            here.flags &= !AGAIN;
            return AfterPush { ended, go_on: true };
        }
        if retry_at.is_none() {
            // The user is away: what the inbox keeps needs no memory here.
            self.forget(mailbox, |e| e.kept.is_some() && e.state == State::Waiting);
        }
        self.release(mailbox);
        AfterPush { ended, go_on: false }
    }

    /// A connection of the user came or went: what is in flight is offered again (a connection that has it
    /// already is spared by the pusher), unless it has ended. Then flush.
    pub(super) fn presence_changed(&mut self, user: &UserId) {
        let Some(mailbox) = self.find(user) else { return };
        self.mailboxes[mailbox as usize].flags |= CHANGED;
        if self.mailboxes[mailbox as usize].flags & HELD == 0 {
            self.offer_again_if_changed(mailbox);
        }
    }

    /// A connection of this user acknowledged this id. Answers it if that means anything: not for an id
    /// that is unknown, somebody else's, never pushed, or acknowledged before.
    pub(super) fn acknowledged(&mut self, user: &UserId, id: NotificationId) -> Option<Acked> {
        let mailbox = self.find(user)?;
        let index = self.position(mailbox, |e| e.id == id)?;
        let entry = &self.entries[index as usize];
        let counts = match entry.state {
            // A fast client is quicker than the pusher's own answer.
            State::Pushing | State::InFlight => true,
            // Of an earlier connection, or late.
            State::Waiting => entry.attempt.is_some(),
            State::Acked | State::Marked => false,
        };
        counts.then(|| self.end(index))
    }

    /// Looks at most at `limit` entries that are due by now; true if there may be more.
    pub(super) fn due(&mut self, now: Timestamp, limit: usize, due: &mut Due) -> bool {
        for _ in 0..limit {
            let Some(index) = self.expiries.due(now) else {
                return false;
            };
            let entry = &self.entries[index as usize];
            if now >= entry.expires_at() {
                let was_tried = entry.attempt.is_some();
                let expired = self.remove(index);
                if was_tried {
                    due.flush.push(expired.user_id.clone());
                }
                due.expired.push(expired);
                continue;
            }
            // Not its end: an acknowledgement that did not come, or a failed push to be tried again.
            self.expiries.unset(&mut self.entries, index);
            let entry = &mut self.entries[index as usize];
            let mailbox = entry.mailbox;
            if entry.state == State::InFlight {
                entry.state = State::Waiting;
                entry.attempt = entry.attempt.map(Attempt::next);
                self.in_flight -= 1;
            }
            let end = entry.expires_at();
            self.expiries.set(&mut self.entries, index, end);
            self.rewind(mailbox);
            due.flush.push(self.mailboxes[mailbox as usize].user.clone());
        }
        true
    }

    /// When something is due next.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.expiries.next()
    }

    /// Where a notification stands, if it is here and has not ended.
    pub(super) fn state(&self, user: &UserId, id: NotificationId) -> Option<State> {
        let mailbox = self.find(user)?;
        let index = self.position(mailbox, |e| e.id == id)?;
        Some(self.entries[index as usize].state)
    }

    /// Takes out at least `limit` notifications (all, if there are fewer), whole mailboxes at a time, each
    /// in order, but not what the inbox has anyway.
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

    pub(super) fn held(&self) -> Held {
        Held {
            waiting: self.entries.len() - self.in_flight - self.ended,
            in_flight: self.in_flight,
            mailboxes: self.mailboxes.len(),
            bytes: self.bytes,
        }
    }

    /// Those of kinds with limits of their own that went since the last call: their kinds and bytes.
    pub(super) fn limited_that_went(&mut self) -> Vec<(Kind, usize)> {
        std::mem::take(&mut self.limited_went)
    }

    /// How many entries there are, and the bytes of their payloads.
    pub(super) fn load(&self) -> (usize, usize) {
        (self.entries.len(), self.bytes)
    }
}
