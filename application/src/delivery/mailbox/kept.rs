//! Items of the inbox in a mailbox: loaded from the store, and forgotten when the store has recorded their end.

use doorstep_domain::ports::InboxItem;
use doorstep_domain::{NotificationId, Ttl, UserId};

use super::entry::{EntryState, NIL};
use super::{LOOK, LOOK_LATER, LOOKING, MORE, Mailroom, STALE};

impl Mailroom {
    /// The next flush loads from the user's inbox.
    pub(in crate::delivery) fn look_into_inbox(&mut self, user: &UserId) {
        let mailbox = self.find(user).unwrap_or_else(|| self.open(user.clone()));
        self.mailboxes[mailbox as usize].flags |= LOOK;
    }

    /// A load from the inbox returned these undelivered items, oldest first; `more` means that the page was full.
    /// Each item that is not known yet goes to its place in the order of acceptance.
    pub(in crate::delivery) fn looked(&mut self, user: &UserId, items: Vec<InboxItem>, more: bool) {
        let Some(mailbox) = self.find(user) else { return };
        let here = &mut self.mailboxes[mailbox as usize];
        if here.flags & STALE != 0 {
            here.flags = here.flags & !(STALE | LOOKING) | LOOK;
            self.forget(mailbox, |e| e.state == EntryState::Marked);
            return;
        }
        for InboxItem { notification: item, by, .. } in items {
            if self.with_id(mailbox, item.id, |_| true).is_some() {
                continue;
            }
            // Not before an entry that is being pushed or in flight: that order is fixed already.
            let before = self.position(mailbox, |e| {
                e.state == EntryState::Waiting && e.created_at > item.created_at
            });
            self.insert(mailbox, item, Ttl::ZERO, Some(by), before.unwrap_or(NIL));
        }
        let here = &mut self.mailboxes[mailbox as usize];
        here.flags &= !LOOKING;
        if more {
            here.flags |= MORE;
        }
        self.forget(mailbox, |e| e.state == EntryState::Marked);
        self.rewind(mailbox);
    }

    /// A load from the inbox failed. Returns whether the caller must call `look_again_now` later; false if another
    /// caller does.
    pub(in crate::delivery) fn look_failed(&mut self, user: &UserId) -> bool {
        let Some(mailbox) = self.find(user) else { return false };
        let here = &mut self.mailboxes[mailbox as usize];
        here.flags &= !(LOOKING | STALE);
        let first = here.flags & LOOK_LATER == 0;
        here.flags |= LOOK_LATER;
        self.forget(mailbox, |e| e.state == EntryState::Marked);
        first
    }

    /// The pause after a failed load is over. Loads again if the user is still there.
    pub(in crate::delivery) fn look_again_now(&mut self, user: &UserId, there: bool) {
        let Some(mailbox) = self.find(user) else { return };
        self.mailboxes[mailbox as usize].flags &= !LOOK_LATER;
        if there {
            self.mailboxes[mailbox as usize].flags |= LOOK;
        }
        self.close_if_done(mailbox);
    }

    /// The inbox has recorded that this item was delivered. Returns whether to load the next page, now that there
    /// is room.
    pub(in crate::delivery) fn marked(&mut self, user: &UserId, id: NotificationId) -> bool {
        let Some(mailbox) = self.find(user) else { return false };
        let Some(index) = self.with_id(mailbox, id, |e| e.state == EntryState::Acked) else {
            return false;
        };
        let here = &mut self.mailboxes[mailbox as usize];
        if here.flags & LOOKING != 0 {
            self.set_state(index, EntryState::Marked);
            return false;
        }
        let more = here.flags & MORE != 0;
        if more {
            here.flags = here.flags & !MORE | LOOK;
        }
        self.remove(index);
        more
    }

    /// The user read this item, and the inbox has recorded that. Removes the entry, if there is one. Returns false
    /// if an acknowledgement that the inbox had not recorded yet had ended it before.
    pub(in crate::delivery) fn read(&mut self, user: &UserId, id: NotificationId) -> bool {
        let Some(mailbox) = self.find(user) else { return true };
        let Some(index) = self.with_id(mailbox, id, |e| e.kept.is_some()) else {
            self.distrust_load(mailbox);
            return true;
        };
        if matches!(self.entries[index as usize].state, EntryState::Acked | EntryState::Marked) {
            return false;
        }
        self.end(index);
        // A load that is under way may return it again.
        if self.mailboxes[mailbox as usize].flags & LOOKING != 0 {
            self.set_state(index, EntryState::Marked);
        } else {
            self.remove(index);
        }
        true
    }
    /// An item that is not here has ended in the inbox. A load that is under way may still return it, so what it
    /// returns is discarded, and it is repeated.
    pub(super) fn distrust_load(&mut self, mailbox: u32) {
        let here = &mut self.mailboxes[mailbox as usize];
        if here.flags & LOOKING != 0 {
            here.flags |= STALE;
        }
    }
}
