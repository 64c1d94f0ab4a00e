//! What this node accepted, and the log has lost.

use std::collections::{BTreeMap, HashMap};

use doorstep_domain::{Notification, NotificationId, UserId};

/// Notifications that are missing in the log, in the order in which they were accepted. Each stays until it has come
/// by again.
#[derive(Default)]
pub(super) struct Orphans(HashMap<NotificationId, (usize, Notification)>);

impl Orphans {
    /// The log has lost these. What an earlier loss left came after them: it was on its way into this log.
    pub(super) fn lost(&mut self, these: impl IntoIterator<Item = Notification>) {
        let left = self.all();
        self.0.clear();
        for n in these.into_iter().chain(left) {
            let place = self.0.len();
            self.0.entry(n.id).or_insert((place, n));
        }
    }

    /// The log has it.
    pub(super) fn found(&mut self, id: NotificationId) {
        self.0.remove(&id);
    }

    pub(super) fn all(&self) -> Vec<Notification> {
        let mut all: Vec<_> = self.0.values().collect();
        all.sort_unstable_by_key(|(place, _)| *place);
        all.into_iter().map(|(_, n)| n.clone()).collect()
    }

    /// All, user by user.
    pub(super) fn by_user(&self) -> BTreeMap<UserId, Vec<Notification>> {
        let mut by_user: BTreeMap<UserId, Vec<Notification>> = BTreeMap::new();
        for n in self.all() {
            by_user.entry(n.user_id.clone()).or_default().push(n);
        }
        by_user
    }
}

#[cfg(test)]
mod tests {
    use doorstep_domain::{Payload, Timestamp};
    use uuid::Uuid;

    use super::*;

    fn lost(n: u128) -> Notification {
        Notification {
            id: NotificationId::new(Uuid::from_u128(n)),
            user_id: "ada".parse().unwrap(),
            kind: "news".parse().unwrap(),
            topic: None,
            payload: Payload::new("1").unwrap(),
            created_at: Timestamp::from_micros(0),
            ttl: None,
            trace: None,
        }
    }

    fn ids(orphans: &Orphans) -> Vec<u128> {
        orphans.all().iter().map(|n| n.id.as_uuid().as_u128()).collect()
    }

    #[test]
    fn a_second_loss_keeps_the_order_and_nothing_twice() {
        let mut orphans = Orphans::default();
        orphans.lost([1, 2, 3, 4].map(lost));
        // The new log has got three of them when it is lost too; the third was not read.
        orphans.found(lost(1).id);
        orphans.found(lost(2).id);
        orphans.lost([1, 2, 3].map(lost));
        assert_eq!(ids(&orphans), [1, 2, 3, 4]);
        assert_eq!(orphans.by_user().len(), 1);
    }
}
