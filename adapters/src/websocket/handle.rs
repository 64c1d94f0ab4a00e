use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use doorstep_domain::ports::Attempt;
use doorstep_domain::{NotificationId, TokenHash};
use tokio::sync::{Notify, mpsc};

use super::CloseReason;
use super::frame::Frame;

/// What the registry holds of a connection: its queue, its end, and what it was handed.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) session: TokenHash,
    pub(super) address: IpAddr,
    queue: mpsc::Sender<Arc<Frame>>,
    closing: OnceLock<CloseReason>,
    closed: Notify,
    handed: Mutex<Handed>,
}

impl Handle {
    /// A handle, and the other end of its queue.
    pub(super) fn new(
        session: TokenHash,
        address: IpAddr,
        queue_frames: usize,
    ) -> (Self, mpsc::Receiver<Arc<Frame>>) {
        let (queue, frames) = mpsc::channel(queue_frames.max(1));
        let handle = Self {
            session,
            address,
            queue,
            closing: OnceLock::new(),
            closed: Notify::new(),
            handed: Mutex::new(Handed::new(queue_frames.max(1))),
        };
        (handle, frames)
    }

    /// Whether the connection can still be handed frames.
    pub(super) fn is_open(&self) -> bool {
        self.closing.get().is_none()
    }

    /// Closes the connection; the first reason counts.
    pub(super) fn close(&self, reason: CloseReason) {
        if self.closing.set(reason).is_ok() {
            self.closed.notify_one();
        }
    }

    /// Waits until the connection is to be closed. One task waits, once.
    pub(super) async fn closed(&self) -> CloseReason {
        loop {
            // The permit of a `close` that came before is kept, so none is missed.
            self.closed.notified().await;
            if let Some(reason) = self.closing.get() {
                return *reason;
            }
        }
    }

    /// Hands the frame over without waiting. A connection whose queue is full is closed.
    pub(super) fn hand(&self, frame: &Arc<Frame>, attempt: Attempt) -> Hand {
        if !self.is_open() {
            return Hand::Gone;
        }
        let mut handed = self.handed.lock().unwrap_or_else(PoisonError::into_inner);
        if handed.has(frame.id, attempt) {
            return Hand::Known;
        }
        match self.queue.try_send(Arc::clone(frame)) {
            Ok(()) => {
                handed.note(frame.id, attempt);
                Hand::Queued
            }
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.close(CloseReason::TooSlow);
                Hand::Gone
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Hand::Gone,
        }
    }
}

/// What became of handing a frame to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hand {
    /// It is in the queue.
    Queued,
    /// The connection was handed this attempt before; it counts all the same.
    Known,
    /// The connection takes nothing any more.
    Gone,
}

/// The last notifications that a connection was handed, so that no attempt is handed to it twice.
///
/// They stay after their acknowledgement: a push that was on its way meanwhile must still find them. What is
/// forgotten beyond the bound could at worst be shown twice, and a client drops an id that it knows.
#[derive(Debug)]
struct Handed {
    last: VecDeque<(NotificationId, Attempt)>,
    bound: usize,
}

impl Handed {
    fn new(bound: usize) -> Self {
        Self { last: VecDeque::new(), bound }
    }

    fn has(&self, id: NotificationId, attempt: Attempt) -> bool {
        // Newest first: what is asked about again was mostly handed just now.
        self.last.iter().rev().find(|(known, _)| *known == id).is_some_and(|(_, at)| *at >= attempt)
    }

    fn note(&mut self, id: NotificationId, attempt: Attempt) {
        self.last.retain(|(known, _)| *known != id);
        if self.last.len() == self.bound {
            self.last.pop_front();
        }
        self.last.push_back((id, attempt));
    }
}

#[cfg(test)]
mod tests {
    use doorstep_domain::Timestamp;
    use uuid::Uuid;

    use super::*;

    fn frame(number: u128) -> Arc<Frame> {
        let id = NotificationId::new(Uuid::from_u128(number));
        Arc::new(Frame { id, deadline: Timestamp::MAX, text: "{}".into() })
    }

    fn handle(queue_frames: usize) -> (Handle, mpsc::Receiver<Arc<Frame>>) {
        Handle::new(TokenHash::new([0; 32]), [127, 0, 0, 1].into(), queue_frames)
    }

    #[test]
    fn an_attempt_is_handed_once_and_a_later_one_again() {
        let (handle, mut frames) = handle(8);
        for (attempt, expected) in [
            (Attempt::FIRST, Hand::Queued),
            (Attempt::FIRST, Hand::Known),
            (Attempt::FIRST.next(), Hand::Queued),
            (Attempt::FIRST, Hand::Known),
        ] {
            assert_eq!(handle.hand(&frame(1), attempt), expected);
            assert_eq!(frames.try_recv().is_ok(), expected == Hand::Queued);
        }
    }

    #[test]
    fn a_full_queue_closes() {
        let (handle, frames) = handle(2);
        let hand = |number| handle.hand(&frame(number), Attempt::FIRST);
        assert_eq!([1, 2, 2, 3].map(hand), [Hand::Queued, Hand::Queued, Hand::Known, Hand::Gone]);
        assert!(!handle.is_open());
        assert_eq!(hand(2), Hand::Gone, "nothing counts any more");
        assert_eq!(frames.len(), 2);
    }

    #[tokio::test]
    async fn the_first_reason_counts_whenever_it_is_asked_for() {
        let (handle, _frames) = handle(1);
        handle.close(CloseReason::SessionEnded);
        handle.close(CloseReason::Restart);
        assert_eq!(handle.closed().await, CloseReason::SessionEnded);
    }

    #[test]
    fn what_it_remembers_is_bounded() {
        let mut handed = Handed::new(3);
        for number in 0..10 {
            handed.note(NotificationId::new(Uuid::from_u128(number)), Attempt::FIRST);
        }
        assert_eq!(handed.last.len(), 3);
        assert!(handed.has(NotificationId::new(Uuid::from_u128(9)), Attempt::FIRST));
        assert!(!handed.has(NotificationId::new(Uuid::from_u128(6)), Attempt::FIRST));
    }
}
