//! Puts a notification that a stopped node left into a mailbox that may already have newer ones.

use doorstep_domain::{Notification, Outcome, Ttl};

use super::entry::{EntryState, NIL};
use super::{Admission, Mailroom};

impl Mailroom {
    /// Puts in a notification that another node accepted, at its place in the order of acceptance. It replaces
    /// an older waiting notification with the same topic, and a newer one replaces it. No limit is enforced,
    /// because it was accepted within one.
    ///
    /// Returns [`Admission::Full`] for a notification that is here already.
    pub(in crate::delivery) fn claimed(
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
        if n.topic.is_some() {
            let newer = self.position(mailbox, |e| {
                e.kept.is_none() && e.topic == n.topic && e.created_at > n.created_at
            });
            if newer.is_some() {
                return Admission::In(vec![(n, Outcome::Replaced)]);
            }
            if let Some(older) = self.waiting_with_topic(mailbox, n.topic.as_ref()) {
                gone.push((self.take(older), Outcome::Replaced));
            }
        }
        // Not before an entry that is being pushed or in flight: that order is fixed already.
        let before = self
            .position(mailbox, |e| e.state == EntryState::Waiting && e.created_at > n.created_at);
        let index = self.insert(mailbox, n, ttl, None, before.unwrap_or(NIL));
        self.entries[index as usize].limited = limited;
        self.entries[index as usize].travelled = true;
        self.rewind(mailbox);
        Admission::In(gone)
    }
}
