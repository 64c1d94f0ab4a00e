use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use doorstep_domain::NotificationId;
use doorstep_domain::ports::Attempt;
use tokio::sync::Notify;

use super::frame::Frame;
use super::handed::Handed;
use super::retract::retract_frame;
use doorstep_domain::ports::RetractReason;

/// The frames that wait for one connection's socket: pushes put them in, the connection's task takes them out.
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
    Retract(#[cfg_attr(not(feature = "websocket"), allow(dead_code))] Bytes),
}

#[derive(Debug, Default)]
struct Inner {
    frames: VecDeque<Outgoing>,
    handed: Handed,
    wanted: RoomWanted,
    /// See [`Outbox::half_written`].
    half_written: Option<NotificationId>,
}

/// What a push that found the outbox full is waiting for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum RoomWanted {
    #[default]
    Nothing,
    /// Room: no connection took the notification.
    Room,
    /// Room, and the notifications that other connections took without this one.
    Missed,
}

/// What the connection's task reports to delivery once half of the outbox is free again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// Nothing: no push waits.
    NotWanted,
    /// `ready`: a push waits for room.
    Ready,
    /// `arrived`: this connection missed notifications that others took, and is offered them now.
    Missed,
}

/// Whether an outbox takes a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OutboxOffer {
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

    /// Whether it can take this notification. An outbox that missed one takes no other until it has been offered
    /// that one, because its client would get them out of order.
    pub(super) fn offer(&self, id: NotificationId, attempt: Attempt) -> OutboxOffer {
        let inner = self.locked();
        if inner.handed.has(id, attempt) {
            OutboxOffer::Known
        } else if inner.frames.len() < self.capacity && inner.wanted != RoomWanted::Missed {
            OutboxOffer::Fits
        } else {
            OutboxOffer::Full
        }
    }

    /// Takes the frame if it can; returns the same as `offer`. Calls `takes` before the connection's task can see the
    /// frame.
    pub(super) fn put(
        &self,
        frame: &Arc<Frame>,
        attempt: Attempt,
        takes: impl FnOnce(),
    ) -> OutboxOffer {
        let mut inner = self.locked();
        if inner.handed.has(frame.id, attempt) {
            return OutboxOffer::Known;
        }
        if inner.frames.len() >= self.capacity || inner.wanted == RoomWanted::Missed {
            return OutboxOffer::Full;
        }
        inner.handed.note(frame.id, attempt);
        takes();
        inner.frames.push_back(Outgoing::Notification(Arc::clone(frame)));
        drop(inner);
        self.filled.notify_one();
        OutboxOffer::Fits
    }

    /// Asks to be told when there is room, after a push found the outbox full. Returns false if there is room by
    /// now.
    pub(super) fn want_room(&self) -> bool {
        let mut inner = self.locked();
        if inner.wanted == RoomWanted::Nothing {
            if inner.frames.len() < self.capacity {
                return false;
            }
            inner.wanted = RoomWanted::Room;
        }
        true
    }

    /// Notes that other connections took a notification for which this one had no room.
    pub(super) fn miss(&self) {
        let mut inner = self.locked();
        inner.wanted = RoomWanted::Missed;
        let empty = inner.frames.is_empty();
        drop(inner);
        if empty {
            // The task may be waiting for a frame; it must report the room instead.
            self.filled.notify_one();
        }
    }

    /// The next frame for the socket, and whether delivery must be told of room. Only one task may call this.
    pub(crate) async fn next(&self) -> (Option<Outgoing>, Room) {
        loop {
            {
                let mut inner = self.locked();
                let frame = inner.frames.pop_front();
                let room = inner.room(self.capacity);
                if frame.is_some() || room != Room::NotWanted {
                    return (frame, room);
                }
                // Gives back the memory of a burst.
                if inner.frames.capacity() > 16 {
                    inner.frames.shrink_to(16);
                }
            }
            self.filled.notified().await;
        }
    }

    /// Tells the client to take this notification away, if it was handed it. If its frame has not gone out yet, the
    /// frame is dropped instead, unless another connection only acknowledged it: then each connection still gets it.
    /// Returns whether there was something to do, and room to do it.
    pub(super) fn retract(&self, id: NotificationId, reason: RetractReason) -> bool {
        let mut inner = self.locked();
        let elsewhere = reason == RetractReason::AcknowledgedElsewhere;
        if !inner.handed.was_handed(id) || elsewhere && inner.handed.is_done(id) {
            return false;
        }
        let before = inner.frames.len();
        let is_it = |out: &Outgoing| matches!(out, Outgoing::Notification(frame) if frame.id == id);
        if !elsewhere {
            inner.frames.retain(|out| !is_it(out));
        }
        // Half of the outbox stays free for notifications.
        if inner.frames.len() == before {
            if before > self.capacity / 2 {
                return false;
            }
            inner.frames.push_back(Outgoing::Retract(retract_frame(id, reason)));
            drop(inner);
            self.filled.notify_one();
        }
        true
    }

    /// Records that the client has this notification for good. Returns whether that is new.
    pub(crate) fn done(&self, id: NotificationId) -> bool {
        let mut inner = self.locked();
        inner.half_written.take_if(|half_written| *half_written == id);
        inner.handed.done(id)
    }

    /// Records that the socket has been given this notification's frame, for a client that does not acknowledge.
    #[cfg(feature = "websocket")]
    pub(crate) fn begins(&self, id: NotificationId) {
        self.locked().half_written = Some(id);
    }

    /// The notification of which a socket has perhaps taken a part, and which is not done. The rest of its frame goes
    /// out before a close frame.
    #[cfg(feature = "websocket")]
    pub(crate) fn half_written(&self) -> Option<NotificationId> {
        self.locked().half_written
    }

    /// A panic elsewhere leaves it intact: no change to it can panic half-way.
    fn locked(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Whether a waiting push must be told of room; each is told once.
    fn room(&mut self, capacity: usize) -> Room {
        // Reported per half outbox and not per frame: this costs a fraction of the calls.
        if self.frames.len() > capacity / 2 {
            return Room::NotWanted;
        }
        match std::mem::take(&mut self.wanted) {
            RoomWanted::Nothing => Room::NotWanted,
            RoomWanted::Room => Room::Ready,
            RoomWanted::Missed => Room::Missed,
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
        let pushed_at = std::time::Instant::now();
        Arc::new(Frame { id, deadline: Timestamp::MAX, text: "{}".into(), pushed_at })
    }

    #[tokio::test]
    async fn an_attempt_is_handed_once_and_a_later_one_again() {
        let outbox = Outbox::new(8);
        for (attempt, expected) in [
            (Attempt::FIRST, OutboxOffer::Fits),
            (Attempt::FIRST, OutboxOffer::Known),
            (Attempt::FIRST.next(), OutboxOffer::Fits),
            (Attempt::FIRST, OutboxOffer::Known),
        ] {
            assert_eq!(outbox.offer(frame(1).id, attempt), expected);
            assert_eq!(outbox.put(&frame(1), attempt, || ()), expected);
            if expected == OutboxOffer::Fits {
                assert!(outbox.next().await.0.is_some());
            }
        }
    }

    #[tokio::test]
    async fn a_full_outbox_reports_room_once_when_half_of_it_is_free() {
        let outbox = Outbox::new(4);
        let put = |number| outbox.put(&frame(number), Attempt::FIRST, || ());
        assert_eq!([1, 2, 3, 4, 4, 5].map(put)[4..], [OutboxOffer::Known, OutboxOffer::Full]);
        assert!(outbox.want_room());
        assert_eq!(outbox.next().await.1, Room::NotWanted);
        assert_eq!(outbox.next().await.1, Room::Ready);
        assert_eq!(outbox.next().await.1, Room::NotWanted);
        assert!(!outbox.want_room(), "there is room");
    }

    #[tokio::test]
    async fn an_outbox_that_missed_a_frame_takes_none_before_it_has_reported_it() {
        let outbox = Outbox::new(2);
        let put = |number| outbox.put(&frame(number), Attempt::FIRST, || ());
        assert_eq!([1, 2, 3].map(put), [OutboxOffer::Fits, OutboxOffer::Fits, OutboxOffer::Full]);
        outbox.miss();
        assert_eq!(outbox.next().await.1, Room::Missed);
        assert_eq!(put(3), OutboxOffer::Fits);
        // The same when its task has nothing to write and waits.
        while outbox.locked().frames.pop_front().is_some() {}
        let (missed, ()) = tokio::join!(outbox.next(), async { outbox.miss() });
        assert_eq!(missed.1, Room::Missed);
    }
}
