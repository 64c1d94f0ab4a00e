use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use doorstep_domain::ports::Attempt;
use doorstep_domain::{NotificationId, Timestamp, TokenHash};
use tokio::sync::{Notify, mpsc};

/// Why the server ends a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closing {
    /// This node stops: come back, with backoff and jitter.
    Restart,
    /// The session was signed out or has expired.
    SessionEnded,
    /// The client does not read what it is sent.
    TooSlow,
}

impl Closing {
    /// The code of the WebSocket's close for the same reason (DESIGN section 5).
    pub(super) const fn code(self) -> u16 {
        match self {
            Self::Restart => 1012,
            Self::SessionEnded => 4401,
            Self::TooSlow => 4408,
        }
    }
}

/// A notification as an event of the stream.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) id: NotificationId,
    /// From then on it is not written any more.
    pub(super) deadline: Timestamp,
    pub(super) text: String,
}

/// What became of handing an event to a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hand {
    /// It is in the queue.
    Queued,
    /// The stream has it from before.
    Known,
    /// The stream is ended, or is so now.
    Gone,
}

/// What the registry holds of a stream.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) session: TokenHash,
    pub(super) address: IpAddr,
    queue: mpsc::Sender<Arc<Event>>,
    closing: OnceLock<Closing>,
    closed: Notify,
    /// The last notifications it was handed, so that no attempt is handed to it twice.
    handed: Mutex<VecDeque<(NotificationId, Attempt)>>,
}

impl Handle {
    pub(super) fn new(
        session: TokenHash,
        address: IpAddr,
        queue_events: usize,
    ) -> (Self, mpsc::Receiver<Arc<Event>>) {
        let (queue, events) = mpsc::channel(queue_events.max(1));
        let (closing, closed, handed) = (OnceLock::new(), Notify::new(), Mutex::default());
        (Self { session, address, queue, closing, closed, handed }, events)
    }

    pub(super) fn is_open(&self) -> bool {
        self.closing.get().is_none()
    }

    /// Ends the stream; the first reason counts.
    pub(super) fn close(&self, why: Closing) {
        if self.closing.set(why).is_ok() {
            self.closed.notify_one();
        }
    }

    /// Waits until the stream is to be ended.
    pub(super) async fn closed(&self) -> Closing {
        loop {
            // Looked at first: whoever waited before may have taken the permit and been dropped.
            if let Some(why) = self.closing.get() {
                return *why;
            }
            self.closed.notified().await;
        }
    }

    /// Hands the event over without waiting. A stream whose queue is full is ended.
    pub(super) fn hand(&self, event: &Arc<Event>, attempt: Attempt) -> Hand {
        if !self.is_open() {
            return Hand::Gone;
        }
        let mut handed = self.handed.lock().unwrap_or_else(PoisonError::into_inner);
        if handed.iter().any(|(id, at)| *id == event.id && *at >= attempt) {
            return Hand::Known;
        }
        match self.queue.try_send(Arc::clone(event)) {
            Ok(()) => {
                handed.retain(|(id, _)| *id != event.id);
                if handed.len() >= self.queue.max_capacity() {
                    handed.pop_front();
                }
                handed.push_back((event.id, attempt));
                Hand::Queued
            }
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.close(Closing::TooSlow);
                Hand::Gone
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Hand::Gone,
        }
    }
}
