use std::collections::{HashMap, VecDeque};

use doorstep_domain::NotificationId;
use doorstep_domain::ports::Attempt;

/// This many notifications are remembered after they are done with: a push that was under way when one was
/// acknowledged must still find it.
const KEPT: usize = 256;
/// This many are remembered at most. Beyond it the oldest could at worst be shown twice, and a client drops an
/// id that it knows.
const MOST: usize = 65_536;

/// What a connection was handed, so that no attempt is handed to it twice.
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
    /// Whether it was handed this notification in this attempt, or a later one.
    pub(super) fn has(&self, id: NotificationId, attempt: Attempt) -> bool {
        self.known.get(&id).is_some_and(|known| known.attempt >= attempt)
    }

    /// Whether it was handed this notification in any attempt.
    pub(super) fn was_handed(&self, id: NotificationId) -> bool {
        self.known.contains_key(&id)
    }

    /// Whether its client is done with this notification.
    pub(super) fn is_done(&self, id: NotificationId) -> bool {
        self.known.get(&id).is_some_and(|known| known.done)
    }

    /// It is handed this notification.
    pub(super) fn note(&mut self, id: NotificationId, attempt: Attempt) {
        let known = Known { attempt, done: false };
        if self.known.insert(id, known).is_none() {
            self.order.push_back(id);
        }
        self.forget_some();
    }

    /// Its client has acknowledged this notification, or was written it and does not acknowledge.
    pub(super) fn done(&mut self, id: NotificationId) {
        if let Some(known) = self.known.get_mut(&id) {
            known.done = true;
        }
        self.forget_some();
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
        // A burst must not leave its room behind.
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
    fn what_is_open_is_remembered_and_what_is_done_is_forgotten_in_time() {
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
        assert!(handed.order.capacity() <= 4 * KEPT, "room of a burst stays behind");
    }

    #[test]
    fn what_is_never_done_is_bounded() {
        let mut handed = Handed::default();
        for number in 0..MOST + 10 {
            handed.note(id(number), Attempt::FIRST);
        }
        assert_eq!((handed.order.len(), handed.known.len()), (MOST, MOST));
    }
}
