use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use async_trait::async_trait;
use doorstep_domain::ports::{Attempt, Presence, PushError, Pushed, Pusher, RetractReason};
use doorstep_domain::{Notification, NotificationId, Step, Timestamp, UserId};

use super::frame::Frame;
use super::outbox::OutboxOffer;
use super::{Connection, Connections};

#[async_trait]
impl Presence for Connections {
    async fn is_online(&self, user: &UserId) -> bool {
        self.with(user, |theirs| theirs.iter().any(|connection| connection.is_open()))
    }

    async fn is_reading(&self, user: &UserId) -> bool {
        let within = self.settings.reads_within;
        self.with(user, |theirs| theirs.iter().any(|c| c.is_open() && c.reads_within(within)))
    }
}

#[async_trait]
impl Pusher for Connections {
    /// Plain connections count as [`Pushed::InFlight`] like those that acknowledge: their task acknowledges for
    /// them once the frame has been written.
    async fn push(
        &self,
        notification: &Notification,
        attempt: Attempt,
        deadline: Timestamp,
    ) -> Result<Pushed, PushError> {
        let user = &notification.user_id;
        match self.with(user, |theirs| self.survey(theirs, notification, attempt)) {
            Survey::Settled(pushed) => return Ok(pushed),
            Survey::Wanted => {}
        }
        // Outside the lock: making a frame takes longer than putting it into an outbox.
        let frame = Arc::new(Frame::new(notification, deadline));
        Ok(self.with(user, |theirs| self.hand_out(user, theirs, &frame, attempt)))
    }

    async fn retract(&self, user: &UserId, id: NotificationId, reason: RetractReason) {
        Self::retract(self, user, id, reason, None);
    }
}

/// What the state of a user's connections means for a push.
enum Survey {
    /// No frame is needed.
    Settled(Pushed),
    /// At least one connection has room for a frame, and no connection that keeps pace is full.
    Wanted,
}

impl Connections {
    /// Decides whether a notification is handed out now: to all connections that keep pace or to none, so that all
    /// of them get the same order.
    fn survey(
        &self,
        theirs: &[Arc<Connection>],
        notification: &Notification,
        attempt: Attempt,
    ) -> Survey {
        let (mut there, mut known, mut fits) = (false, false, false);
        for connection in theirs.iter().filter(|connection| connection.is_open()) {
            there = true;
            match connection.outbox.offer(notification.id, attempt) {
                OutboxOffer::Known => known = true,
                OutboxOffer::Fits => fits = true,
                OutboxOffer::Full if connection.reads_within(self.settings.keeps_pace_within) => {
                    if connection.outbox.want_room() {
                        return Survey::Settled(Pushed::Full);
                    }
                    fits = true;
                }
                // Passed over for now: it misses notifications that the others take.
                OutboxOffer::Full => {
                    connection.outbox.want_room();
                }
            }
        }
        match (there, fits, known) {
            (false, ..) => Survey::Settled(Pushed::Nobody),
            (_, true, _) => Survey::Wanted,
            (_, false, true) => Survey::Settled(Pushed::InFlight),
            (_, false, false) => Survey::Settled(Pushed::Full),
        }
    }

    /// Hands the frame to every open connection; it does not stop after the first.
    fn hand_out(
        &self,
        user: &UserId,
        theirs: &[Arc<Connection>],
        frame: &Arc<Frame>,
        attempt: Attempt,
    ) -> Pushed {
        let (mut taken, mut full) = (false, Vec::new());
        for connection in theirs.iter().filter(|connection| connection.is_open()) {
            let noted = || {
                let (connection, attempt) = (connection.reference(), attempt.number());
                self.note(user, frame.id, || Step::Pushed { connection, attempt });
            };
            match connection.outbox.put(frame, attempt, noted) {
                OutboxOffer::Known => taken = true,
                OutboxOffer::Fits => {
                    taken = true;
                    connection.count_frame();
                    self.frames_queued[connection.transport as usize].fetch_add(1, Relaxed);
                }
                OutboxOffer::Full => full.push(connection),
            }
        }
        match (taken, full.is_empty()) {
            (true, _) => {
                for connection in full {
                    connection.outbox.miss();
                }
                Pushed::InFlight
            }
            (false, true) => Pushed::Nobody,
            (false, false) => {
                // If one has room by now, delivery tries again at its next timer.
                for connection in full {
                    connection.outbox.want_room();
                }
                Pushed::Full
            }
        }
    }
}
