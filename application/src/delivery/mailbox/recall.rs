//! Taking back what was accepted.

use doorstep_domain::{Notification, NotificationId, Topic, UserId};

use super::Mailroom;
use super::entry::{Entry, EntryState, NIL};

/// An entry that was taken back.
#[derive(Debug)]
pub(in crate::delivery) struct TakenBack {
    pub(in crate::delivery) notification: Notification,
    /// A connection was handed it, or may have been.
    pub(in crate::delivery) pushed: bool,
    /// A connection of this node was handed it, or may have been.
    pub(in crate::delivery) in_hand: bool,
}

/// What a mailbox knows of an item that its sender removed from the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::delivery) enum ItemHere {
    /// It had been acknowledged, and the inbox did not know yet.
    Acknowledged,
    /// It had not ended, or is not here.
    Open,
}

impl Mailroom {
    /// Takes an entry out by its id, whatever its state, unless it is in the inbox.
    pub(in crate::delivery) fn recall(&mut self, id: NotificationId) -> Option<TakenBack> {
        let index = self.anywhere(id, |entry| entry.kept.is_none())?;
        Some(self.take_back(index))
    }

    /// Takes out all of the user's entries, or those of one topic, unless they are in the inbox.
    pub(in crate::delivery) fn recall_all(
        &mut self,
        user: &UserId,
        topic: Option<&Topic>,
    ) -> Vec<TakenBack> {
        let Some(mailbox) = self.find(user) else { return Vec::new() };
        let (mut taken, mut index) = (Vec::new(), self.mailboxes[mailbox as usize].first);
        while index != NIL {
            let entry = &self.entries[index as usize];
            let next = entry.next;
            if entry.kept.is_none() && (topic.is_none() || entry.topic.as_ref() == topic) {
                // Removing the last entry closes the mailbox, so there is no next entry.
                taken.push(self.take_back(index));
            }
            index = next;
        }
        taken
    }

    /// The inbox no longer has this item. Removes it here too.
    pub(in crate::delivery) fn removed_from_inbox(
        &mut self,
        user: &UserId,
        id: NotificationId,
    ) -> ItemHere {
        let Some(mailbox) = self.find(user) else { return ItemHere::Open };
        self.distrust_load(mailbox);
        let Some(index) = self.with_id(mailbox, id, |entry| entry.kept.is_some()) else {
            return ItemHere::Open;
        };
        let ended =
            matches!(self.entries[index as usize].state, EntryState::Acked | EntryState::Marked);
        self.remove(index);
        if ended { ItemHere::Acknowledged } else { ItemHere::Open }
    }

    fn anywhere(&self, id: NotificationId, such: impl Fn(&Entry) -> bool) -> Option<u32> {
        self.find_id(id, |entry| entry.id == id && such(entry))
    }

    fn take_back(&mut self, index: u32) -> TakenBack {
        let entry = &self.entries[index as usize];
        let in_hand = matches!(entry.state, EntryState::Pushing | EntryState::InFlight)
            || entry.attempt.is_some();
        let pushed = in_hand || entry.travelled;
        TakenBack { notification: self.remove(index), pushed, in_hand }
    }
}
