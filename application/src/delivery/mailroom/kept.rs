//! What a mailbox has of the inbox: brought by a look into the store, and forgotten once the store knows.

use doorstep_domain::ports::InboxItem;
use doorstep_domain::{NotificationId, Ttl, UserId};

use super::{LOOK, LOOK_LATER, LOOKING, MORE, Mailroom};
use crate::delivery::entry::{NIL, State};

impl Mailroom {
    /// The user's inbox is to be looked at by the next flush.
    pub(in crate::delivery) fn look_into_inbox(&mut self, user: &UserId) {
        let mailbox = self.find(user).unwrap_or_else(|| self.open(user.clone()));
        self.mailboxes[mailbox as usize].flags |= LOOK;
    }

    /// The inbox answered: these are undelivered, oldest first; `more` if the page was full. Those that are
    /// not known yet take their place in the order of acceptance.
    pub(in crate::delivery) fn looked(&mut self, user: &UserId, items: Vec<InboxItem>, more: bool) {
        let Some(mailbox) = self.find(user) else { return };
        for InboxItem { notification: item, by, .. } in items {
            if self.position(mailbox, |e| e.id == item.id).is_some() {
                continue;
            }
            // Not before what somebody is just being pushed or has: that order is made already.
            let before = self
                .position(mailbox, |e| e.state == State::Waiting && e.created_at > item.created_at);
            self.insert(mailbox, item, Ttl::ZERO, Some(by), before.unwrap_or(NIL));
        }
        let here = &mut self.mailboxes[mailbox as usize];
        here.flags &= !LOOKING;
        if more {
            here.flags |= MORE;
        }
        self.forget(mailbox, |e| e.state == State::Marked);
        self.rewind(mailbox);
    }

    /// The inbox did not answer. Answers whether the caller is the one to come back later, with
    /// `look_again_now`.
    pub(in crate::delivery) fn look_failed(&mut self, user: &UserId) -> bool {
        let Some(mailbox) = self.find(user) else { return false };
        let here = &mut self.mailboxes[mailbox as usize];
        here.flags &= !LOOKING;
        let first = here.flags & LOOK_LATER == 0;
        here.flags |= LOOK_LATER;
        self.forget(mailbox, |e| e.state == State::Marked);
        first
    }

    /// The time has come to look into the inbox again, or (the user has gone) not to.
    pub(in crate::delivery) fn look_again_now(&mut self, user: &UserId, there: bool) {
        let Some(mailbox) = self.find(user) else { return };
        self.mailboxes[mailbox as usize].flags &= !LOOK_LATER;
        if there {
            self.mailboxes[mailbox as usize].flags |= LOOK;
        }
        self.close_if_done(mailbox);
    }

    /// The inbox knows now that this one was delivered. Answers whether there is more in the inbox to look
    /// at, now that there is room.
    pub(in crate::delivery) fn marked(&mut self, user: &UserId, id: NotificationId) -> bool {
        let Some(mailbox) = self.find(user) else { return false };
        let Some(index) = self.position(mailbox, |e| e.id == id && e.state == State::Acked) else {
            return false;
        };
        let here = &mut self.mailboxes[mailbox as usize];
        if here.flags & LOOKING != 0 {
            self.entries[index as usize].state = State::Marked;
            return false;
        }
        let more = here.flags & MORE != 0;
        if more {
            here.flags = here.flags & !MORE | LOOK;
        }
        self.remove(index);
        more
    }

    /// The user read this item of the inbox, and the store knows. If it is here it is forgotten. False if it
    /// had ended before, by an acknowledgement of which the store did not know yet.
    pub(in crate::delivery) fn read(&mut self, user: &UserId, id: NotificationId) -> bool {
        let Some(mailbox) = self.find(user) else { return true };
        let Some(index) = self.position(mailbox, |e| e.id == id && e.kept.is_some()) else {
            return true;
        };
        if matches!(self.entries[index as usize].state, State::Acked | State::Marked) {
            return false;
        }
        self.end(index);
        // A load that is under way may bring it once more.
        if self.mailboxes[mailbox as usize].flags & LOOKING != 0 {
            self.entries[index as usize].state = State::Marked;
        } else {
            self.remove(index);
        }
        true
    }
}
