use std::collections::{HashMap, VecDeque};

use doorstep_domain::NotificationId;
use doorstep_domain::ports::Attempt;

/// This many finished notifications are remembered: a push that is under way when its notification is acknowledged
/// must still find it.
const KEPT: usize = 256;
/// The upper bound of what is remembered. Beyond it the oldest could be shown twice at worst, and clients drop ids
/// that they know.
const MOST: usize = 65_536;

/// The notifications that a connection was handed, so that no attempt is handed to it twice.
#[derive(Debug, Default)]
pub(super) struct Handed {
    known: HashMap<NotificationId, Known>,
    order: VecDeque<NotificationId>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    attempt: Attempt,
    done: bool,
}

impl Handed {
    /// Whether the connection was handed this notification in this attempt or a later one.
    pub(super) fn has(&self, id: NotificationId, attempt: Attempt) -> bool {
        self.known.get(&id).is_some_and(|known| known.attempt >= attempt)
    }

    /// Whether the connection was handed this notification in any attempt.
    pub(super) fn was_handed(&self, id: NotificationId) -> bool {
        self.known.contains_key(&id)
    }

    /// Whether its client is done with this notification.
    pub(super) fn is_done(&self, id: NotificationId) -> bool {
        self.known.get(&id).is_some_and(|known| known.done)
    }

    /// Records that the connection is handed this notification.
    pub(super) fn note(&mut self, id: NotificationId, attempt: Attempt) {
        let known = Known { attempt, done: false };
        if self.known.insert(id, known).is_none() {
            self.order.push_back(id);
        }
        self.forget_some();
    }

    /// Records that the client acknowledged this notification, or that it was written to a client that does not
    /// acknowledge. Returns whether that is new.
    pub(super) fn done(&mut self, id: NotificationId) -> bool {
        let known = self.known.get_mut(&id);
        let is_new = known.is_some_and(|known| !std::mem::replace(&mut known.done, true));
        self.forget_some();
        is_new
    }

    fn forget_some(&mut self) {
        while self.order.len() > KEPT
            && let Some(oldest) = self.order.front()
        {
            let done = self.known.get(oldest).is_none_or(|known| known.done);
            if !done && self.order.len() <= MOST {
                break;
            }
            self.known.remove(oldest);
            self.order.pop_front();
        }
        // Gives back the memory of a burst.
        if self.order.capacity() > 8 * KEPT && self.order.len() <= KEPT {
            self.order.shrink_to(2 * KEPT);
            self.known.shrink_to(2 * KEPT);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn id(number: usize) -> NotificationId {
        NotificationId::new(Uuid::from_u128(number as u128))
    }

    #[test]
    fn open_notifications_are_remembered_and_finished_ones_are_forgotten_later() {
        let mut handed = Handed::default();
        for number in 0..10_000 {
            handed.note(id(number), Attempt::FIRST);
        }
        assert!(handed.has(id(0), Attempt::FIRST), "it is still open");
        assert!(!handed.has(id(0), Attempt::FIRST.next()));
        for number in 0..10_000 {
            handed.done(id(number));
        }
        assert_eq!((handed.order.len(), handed.known.len()), (KEPT, KEPT));
        assert!(handed.has(id(9_999), Attempt::FIRST) && !handed.has(id(0), Attempt::FIRST));
        assert!(handed.order.capacity() <= 4 * KEPT, "the memory of a burst stays allocated");
    }

    #[test]
    fn notifications_that_never_finish_are_bounded() {
        let mut handed = Handed::default();
        for number in 0..MOST + 10 {
            handed.note(id(number), Attempt::FIRST);
        }
        assert_eq!((handed.order.len(), handed.known.len()), (MOST, MOST));
    }
}
