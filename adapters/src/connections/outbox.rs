use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use doorstep_domain::NotificationId;
use doorstep_domain::ports::Attempt;
use tokio::sync::Notify;

use super::frame::Frame;
use super::handed::Handed;
use super::retract::{RetractReason, retract_frame};

/// The frames that wait for one connection's socket: written by pushes, read by the connection's task.
#[derive(Debug)]
pub(crate) struct Outbox {
    inner: Mutex<Inner>,
    filled: Notify,
    capacity: usize,
}

/// What goes out next.
#[derive(Debug, Clone)]
pub(crate) enum Outgoing {
    /// A notification.
    Notification(Arc<Frame>),
    /// A frame that tells the client to take a notification away, for clients that acknowledge.
    Retract(Bytes),
}

#[derive(Debug, Default)]
struct Inner {
    frames: VecDeque<Outgoing>,
    handed: Handed,
    wanted: Wanted,
}

/// What a push that found no room is waiting for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    #[default]
    Nothing,
    /// Room: nobody took the notification.
    Room,
    /// Room, and what other connections took without this one.
    Missed,
}

/// What the connection's task reports to delivery when half of the outbox is free again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// Nothing: no push waits.
    NotWanted,
    /// `ready`: a push waits for room.
    Ready,
    /// `arrived`: this connection missed what others took, and is offered it now.
    Missed,
}

/// Whether an outbox can take a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    /// It was handed this attempt before.
    Known,
    /// It has room for it.
    Fits,
    /// It is full.
    Full,
}

impl Outbox {
    pub(super) fn new(capacity: usize) -> Self {
        Self { inner: Mutex::default(), filled: Notify::new(), capacity: capacity.max(1) }
    }

    /// Whether it can take this notification. One that missed something takes nothing more until it has been
    /// offered that, or its client would be shown things out of order.
    pub(super) fn offer(&self, id: NotificationId, attempt: Attempt) -> Offer {
        let inner = self.locked();
        if inner.handed.has(id, attempt) {
            Offer::Known
        } else if inner.frames.len() < self.capacity && inner.wanted != Wanted::Missed {
            Offer::Fits
        } else {
            Offer::Full
        }
    }

    /// Takes the frame if it can; returns what `offer` would have.
    pub(super) fn put(&self, frame: &Arc<Frame>, attempt: Attempt) -> Offer {
        let mut inner = self.locked();
        if inner.handed.has(frame.id, attempt) {
            return Offer::Known;
        }
        if inner.frames.len() >= self.capacity || inner.wanted == Wanted::Missed {
            return Offer::Full;
        }
        inner.handed.note(frame.id, attempt);
        inner.frames.push_back(Outgoing::Notification(Arc::clone(frame)));
        drop(inner);
        self.filled.notify_one();
        Offer::Fits
    }

    /// A push that found it full asks to be told of room. Returns false if there is room by now.
    pub(super) fn want_room(&self) -> bool {
        let mut inner = self.locked();
        if inner.wanted == Wanted::Nothing {
            if inner.frames.len() < self.capacity {
                return false;
            }
            inner.wanted = Wanted::Room;
        }
        true
    }

    /// Other connections took a notification that it had no room for.
    pub(super) fn miss(&self) {
        let mut inner = self.locked();
        inner.wanted = Wanted::Missed;
        let empty = inner.frames.is_empty();
        drop(inner);
        if empty {
            // Its task may be waiting for a frame; it must report the room instead.
            self.filled.notify_one();
        }
    }

    /// The next frame for the socket, and whether delivery is to be told of room. One task calls this.
    pub(crate) async fn next(&self) -> (Option<Outgoing>, Room) {
        loop {
            {
                let mut inner = self.locked();
                let frame = inner.frames.pop_front();
                let room = inner.room(self.capacity);
                if frame.is_some() || room != Room::NotWanted {
                    return (frame, room);
                }
                // What a burst needed is given back.
                if inner.frames.capacity() > 16 {
                    inner.frames.shrink_to(16);
                }
            }
            self.filled.notified().await;
        }
    }

    /// The client is to take this notification away, if it was handed it. A frame that has not gone out yet is
    /// dropped instead.
    pub(super) fn retract(&self, id: NotificationId, reason: RetractReason) {
        let mut inner = self.locked();
        let elsewhere = reason == RetractReason::AcknowledgedElsewhere;
        if !inner.handed.was_handed(id) || elsewhere && inner.handed.is_done(id) {
            return;
        }
        let before = inner.frames.len();
        inner.frames.retain(|out| !matches!(out, Outgoing::Notification(frame) if frame.id == id));
        if inner.frames.len() == before && before < self.capacity {
            inner.frames.push_back(Outgoing::Retract(retract_frame(id, reason)));
            drop(inner);
            self.filled.notify_one();
        }
    }

    /// The client has this notification for good.
    pub(crate) fn done(&self, id: NotificationId) {
        self.locked().handed.done(id);
    }

    /// A panic elsewhere does not make it wrong: no change to it can panic half-way.
    fn locked(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Whether a push is to be told of room, once.
    fn room(&mut self, capacity: usize) -> Room {
        // Not with each frame: half an outbox at a time costs a fraction of the calls.
        if self.frames.len() > capacity / 2 {
            return Room::NotWanted;
        }
        match std::mem::take(&mut self.wanted) {
            Wanted::Nothing => Room::NotWanted,
            Wanted::Room => Room::Ready,
            Wanted::Missed => Room::Missed,
        }
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

    #[tokio::test]
    async fn an_attempt_is_handed_once_and_a_later_one_again() {
        let outbox = Outbox::new(8);
        for (attempt, expected) in [
            (Attempt::FIRST, Offer::Fits),
            (Attempt::FIRST, Offer::Known),
            (Attempt::FIRST.next(), Offer::Fits),
            (Attempt::FIRST, Offer::Known),
        ] {
            assert_eq!(outbox.offer(frame(1).id, attempt), expected);
            assert_eq!(outbox.put(&frame(1), attempt), expected);
            if expected == Offer::Fits {
                assert!(outbox.next().await.0.is_some());
            }
        }
    }

    #[tokio::test]
    async fn a_full_one_tells_of_room_once_when_half_of_it_is_free() {
        let outbox = Outbox::new(4);
        let put = |number| outbox.put(&frame(number), Attempt::FIRST);
        assert_eq!([1, 2, 3, 4, 4, 5].map(put)[4..], [Offer::Known, Offer::Full]);
        assert!(outbox.want_room());
        assert_eq!(outbox.next().await.1, Room::NotWanted);
        assert_eq!(outbox.next().await.1, Room::Ready);
        assert_eq!(outbox.next().await.1, Room::NotWanted);
        assert!(!outbox.want_room(), "there is room");
    }

    #[tokio::test]
    async fn one_that_missed_something_takes_nothing_before_it_has_said_so() {
        let outbox = Outbox::new(2);
        let put = |number| outbox.put(&frame(number), Attempt::FIRST);
        assert_eq!([1, 2, 3].map(put), [Offer::Fits, Offer::Fits, Offer::Full]);
        outbox.miss();
        assert_eq!(outbox.next().await.1, Room::Missed);
        assert_eq!(put(3), Offer::Fits);
        // Also when its task has nothing to write and waits.
        while outbox.locked().frames.pop_front().is_some() {}
        let (missed, ()) = tokio::join!(outbox.next(), async { outbox.miss() });
        assert_eq!(missed.1, Room::Missed);
    }
}
