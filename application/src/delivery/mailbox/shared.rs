//! Entries of the log that several nodes share: each node's mailroom has all of them, in the order of the log.

use doorstep_domain::{Notification, Outcome, Topic, Ttl, UserId};

use super::entry::NIL;
use super::{Admission, Mailroom};

impl Mailroom {
    /// Puts in a notification that the log says was accepted. It replaces what waits with the same topic. No limit is
    /// enforced: whoever accepted it did.
    ///
    /// Returns [`Admission::Full`] for a notification that is here already.
    pub(in crate::delivery) fn entered(
        &mut self,
        n: Notification,
        ttl: Ttl,
        limited: bool,
    ) -> Admission {
        let mailbox = self.find(&n.user_id).unwrap_or_else(|| self.open(n.user_id.clone()));
        if self.with_id(mailbox, n.id, |_| true).is_some() {
            return Admission::Full(n);
        }
        let mut gone = Vec::new();
        while let Some(older) = self.waiting_with_topic(mailbox, n.topic.as_ref()) {
            gone.push((self.take(older), Outcome::Replaced));
        }
        let index = self.insert(mailbox, n, ttl, None, NIL);
        let entry = &mut self.entries[index as usize];
        entry.limited = limited;
        // Another node may hand it to a connection, and this one does not hear of it.
        entry.travelled = true;
        Admission::In(gone)
    }

    /// Whether this user's mailbox has no room for one more notification with this topic.
    pub(in crate::delivery) fn is_full_for(
        &self,
        user: &UserId,
        topic: Option<&Topic>,
        max_per_user: usize,
    ) -> bool {
        self.find(user).is_some_and(|mailbox| {
            self.is_full(mailbox, max_per_user) && self.waiting_with_topic(mailbox, topic).is_none()
        })
    }

    /// Takes out the oldest that wait, until no more than this many do.
    pub(in crate::delivery) fn drop_oldest(
        &mut self,
        user: &UserId,
        max_per_user: usize,
    ) -> Vec<Notification> {
        let mut dropped = Vec::new();
        while let Some(mailbox) = self.find(user)
            && self.is_full(mailbox, max_per_user.saturating_add(1))
            && let Some(oldest) = self.oldest_waiting(mailbox)
        {
            dropped.push(self.remove(oldest));
        }
        dropped
    }

    /// Takes out everything that is not in the inbox: the log is not what it was. A push that is under way finds that
    /// its entry is gone.
    pub(in crate::delivery) fn forget_shared(&mut self) -> Vec<Notification> {
        let mailboxes: Vec<u32> =
            self.mailboxes.iter().filter_map(|(key, _)| u32::try_from(key).ok()).collect();
        let mut forgotten = Vec::new();
        for mailbox in mailboxes {
            // Removing the last entry closes the mailbox.
            while self.mailboxes.contains(mailbox as usize)
                && let Some(index) = self.position(mailbox, |entry| entry.kept.is_none())
            {
                forgotten.push(self.remove(index));
            }
        }
        forgotten
    }
}
