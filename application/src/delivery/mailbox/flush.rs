//! Emptying a mailbox.
//!
//! `begin_flush` gives one caller the hold on it. That caller asks `next` what to do and reports each push with
//! `pushed`, until it is told to stop. An arrival, an acknowledgement or an expiry may change the mailbox in
//! between; the flags `AGAIN` and `CHANGED` make the flush notice.

use doorstep_domain::ports::Attempt;
use doorstep_domain::{Notification, Outcome, Timestamp, UserId};

use super::entry::{EntryState, NIL};
use super::{AGAIN, Acked, CHANGED, HELD, LOOK, LOOKING, MORE, Mailroom};

/// What a flush does next.
#[derive(Debug)]
pub(in crate::delivery) enum Next {
    /// Push this and report with [`Mailroom::pushed`].
    Push(Push),
    /// Load the user's undelivered items from the inbox and report with [`Mailroom::looked`].
    Look,
    /// This entry has ended. Continue.
    Ended(Notification, Outcome),
    /// Nothing is left to do. The hold has been given back.
    Stop,
}

/// A push to make.
#[derive(Debug)]
pub(in crate::delivery) struct Push {
    pub(in crate::delivery) notification: Notification,
    pub(in crate::delivery) attempt: Attempt,
    pub(in crate::delivery) deadline: Timestamp,
    /// How often an acknowledgement timed out since a connection came or went.
    pub(in crate::delivery) repeats: u8,
}

/// The result of a push.
#[derive(Debug, Clone, Copy)]
pub(in crate::delivery) enum PushResult {
    /// It was written to a client, and is delivered.
    Written,
    /// A connection has it. The acknowledgement is due at this time.
    InFlight { ack_by: Timestamp },
    /// No connection has room. Try again at this time if nothing happens before.
    Full { retry_at: Timestamp },
    /// The user is away.
    Nobody,
    /// The pusher failed. Try again at this time.
    Failed { retry_at: Timestamp },
}

/// The consequences of a push.
#[derive(Debug)]
pub(in crate::delivery) struct AfterPush {
    /// Set if the notification has ended.
    pub(in crate::delivery) ended: Option<(Acked, Outcome)>,
    /// The flush continues with `next`.
    pub(in crate::delivery) go_on: bool,
}

impl Mailroom {
    /// Takes the hold on the user's mailbox for a flush, if there is something to do and no other flush has it.
    /// A flush that has it checks the mailbox once more before it ends.
    pub(in crate::delivery) fn begin_flush(&mut self, user: &UserId) -> bool {
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

    /// Returns what the flush that holds the user's mailbox does next.
    pub(in crate::delivery) fn next(&mut self, user: &UserId, now: Timestamp) -> Next {
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
            if entry.state != EntryState::Waiting {
                self.mailboxes[mailbox as usize].cursor = entry.next;
                continue;
            }
            if now >= entry.expires_at() {
                return Next::Ended(self.remove(index), Outcome::Expired);
            }
            if self.superseded(index) {
                return Next::Ended(self.remove(index), Outcome::Replaced);
            }
            return Next::Push(self.start_push(mailbox, index));
        }
    }

    /// Reports the result of a push. Unless the return value says to continue, the hold has been given back.
    pub(in crate::delivery) fn pushed(
        &mut self,
        user: &UserId,
        push: &Push,
        result: PushResult,
        now: Timestamp,
    ) -> AfterPush {
        let Some(mailbox) = self.find(user) else {
            return AfterPush { ended: None, go_on: false };
        };
        // The entry may have ended during the push, and its slot may hold another one by now.
        let id = push.notification.id;
        let index = self.with_id(mailbox, id, |e| e.state == EntryState::Pushing);
        let ended = match result {
            PushResult::Written => {
                let ended = index.map(|index| (self.end(index), Outcome::Delivered));
                return AfterPush { ended, go_on: true };
            }
            PushResult::InFlight { ack_by } => {
                if let Some(index) = index {
                    self.set_state(index, EntryState::InFlight);
                    self.entries[index as usize].attempt = Some(push.attempt);
                    self.due.set(&mut self.entries, index, ack_by);
                }
                return AfterPush { ended: None, go_on: true };
            }
            PushResult::Nobody => index.and_then(|index| self.put_back(index, now, None)),
            PushResult::Full { retry_at } => {
                index.and_then(|index| self.put_back(index, now, Some(retry_at)))
            }
            PushResult::Failed { retry_at } => {
                if let Some(index) = index {
                    // A connection may have received it before the push failed.
                    self.entries[index as usize].attempt.get_or_insert(Attempt::FIRST);
                }
                index.and_then(|index| self.put_back(index, now, Some(retry_at)))
            }
        };
        // An arrival brings back an absent user's entries, and the entry's timer repeats a push that failed or
        // found no room. But if the entry has ended, the result says nothing about the entries behind it, and
        // nothing would wake them. (For the same reason, a flush follows every end of an entry that was tried.)
        let nothing_to_wait_for = index.is_none() || ended.is_some();
        let here = &mut self.mailboxes[mailbox as usize];
        if nothing_to_wait_for || here.flags & (AGAIN | CHANGED) != 0 {
            here.flags &= !AGAIN;
            return AfterPush { ended, go_on: true };
        }
        if matches!(result, PushResult::Nobody) {
            // The user is away: items of the inbox need no memory here.
            self.forget(mailbox, |e| e.kept.is_some() && e.state == EntryState::Waiting);
        }
        self.release(mailbox);
        AfterPush { ended, go_on: false }
    }

    /// A flush ended without giving the hold back: it panicked, or its task was dropped. The entry that it was
    /// pushing waits again and is due at `retry_at`; a load from the inbox is repeated.
    pub(in crate::delivery) fn abandoned(
        &mut self,
        user: &UserId,
        now: Timestamp,
        retry_at: Timestamp,
    ) {
        let Some(mailbox) = self.find(user) else { return };
        if self.mailboxes[mailbox as usize].flags & LOOKING != 0 {
            self.mailboxes[mailbox as usize].flags &= !LOOKING;
            self.mailboxes[mailbox as usize].flags |= LOOK;
        }
        while let Some(index) = self.position(mailbox, |e| e.state == EntryState::Pushing) {
            self.entries[index as usize].attempt.get_or_insert(Attempt::FIRST);
            // An entry at the end of its TTL stays until its timer ends it.
            let retry_at = retry_at.max(now);
            self.return_to_waiting(index, retry_at);
        }
        self.rewind(mailbox);
        self.release(mailbox);
    }
}
