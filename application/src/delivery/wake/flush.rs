use std::sync::Arc;

use doorstep_domain::ports::{PushError, Pushed};
use doorstep_domain::{Ended, Outcome, Step, Timestamp, UserId};

use super::Wake;
use crate::delivery::mailbox::{Acked, Next, Push, PushResult};

/// After this many pushes in a row, a flush yields to other tasks.
const PUSHES_IN_A_ROW: usize = 64;

/// The acknowledgement timeout doubles at most this many times.
const MOST_DOUBLINGS: u8 = 10;

/// The hold on one mailbox. Dropping it gives the hold back, so a panic or a dropped task does not keep it.
struct Hold {
    wake: Arc<Wake>,
    user: UserId,
    given_back: bool,
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.given_back {
            self.wake.abandoned(&self.user);
        }
    }
}

impl Wake {
    /// Checks whether the user is there, and flushes if so. Returns false if the user is known to be away.
    ///
    /// Calls the ports on the caller's stack until they have to wait.
    pub(in crate::delivery) fn flush_if_online(self: &Arc<Self>, user: &UserId) -> bool {
        match self.cx.is_online_at_once(user) {
            Some(true) => {
                if let Some(hold) = self.hold(user) {
                    self.cx.tasks.now_or_later(run(hold));
                }
            }
            Some(false) => return false,
            None => {
                let (this, user) = (self.clone(), user.clone());
                self.cx.tasks.spawn(async move {
                    if this.cx.is_online(&user).await {
                        this.flush_later(&user);
                    }
                });
            }
        }
        true
    }

    /// Flushes the user's mailbox in a task. If a flush is under way, that one checks the mailbox once more.
    ///
    /// Calls no port on the caller's stack: the caller may hold a lock of its own, and may be outside the runtime.
    pub(in crate::delivery) fn flush_later(self: &Arc<Self>, user: &UserId) {
        if let Some(hold) = self.hold(user) {
            self.cx.tasks.spawn(run(hold));
        }
    }

    /// Takes the hold on the user's mailbox, if there is something to do and no other flush has it.
    fn hold(self: &Arc<Self>, user: &UserId) -> Option<Hold> {
        // Once the node stops, waiting notifications are handed over, not pushed.
        if self.cx.tasks.stop().is_cancelled() {
            return None;
        }
        let held = self.rooms.with(user, |room| room.begin_flush(user));
        held.then(|| Hold { wake: self.clone(), user: user.clone(), given_back: false })
    }

    /// A flush ended without giving the hold back.
    fn abandoned(self: &Arc<Self>, user: &UserId) {
        let now = self.cx.clock.now();
        let retry_at = now + self.cx.limits.push_retry;
        self.rooms.with(user, |room| room.abandoned(user, now, retry_at));
        self.alarm.due_at(retry_at);
        if std::thread::panicking() {
            self.cx.tasks.panicked("flush of a mailbox");
        }
    }

    /// Makes one push. Returns whether the flush goes on.
    async fn push(&self, user: &UserId, push: &Push, ended: &mut Vec<Ended>) -> bool {
        let n = &push.notification;
        let pushed = self.cx.push(n, push.attempt, push.deadline).await;
        let now = self.cx.clock.now();
        let retry_at = now + self.cx.limits.push_retry;
        let (result, look_at) = match pushed {
            Ok(Pushed::Written) => (PushResult::Written, Timestamp::MAX),
            Ok(Pushed::InFlight) => {
                let timeout = self.cx.rules.of(&n.kind).ack_timeout;
                let ack_by = now + timeout.saturating_mul(1 << push.repeats.min(MOST_DOUBLINGS));
                (PushResult::InFlight { ack_by }, ack_by)
            }
            Ok(Pushed::Full) => {
                self.cx.endings.note(user, n.id, || Step::NoRoom);
                (PushResult::Full { retry_at }, retry_at)
            }
            Ok(Pushed::Nobody) => (PushResult::Nobody, Timestamp::MAX),
            Err(PushError(why)) => {
                let trace_id = n.trace.map(|trace| tracing::field::display(trace.trace_id()));
                tracing::warn!(notification = %n.id, user = %user, trace_id, error = %why, "push failed");
                self.cx.endings.note(user, n.id, || Step::PushFailed);
                (PushResult::Failed { retry_at }, retry_at)
            }
        };
        let after = self.rooms.with(user, |room| {
            let mut after = room.pushed(user, push, result, now);
            if let Some((expired, Outcome::Expired)) = after.ended {
                after.ended = self
                    .promote(expired.notification)
                    .map(|n| (Acked { notification: n, kept: expired.kept }, Outcome::Expired));
            }
            after
        });
        self.alarm.due_at(look_at);
        if let Some((acked, outcome)) = after.ended {
            self.finish(&acked, outcome, ended);
        }
        after.go_on
    }
}

/// Pushes what waits in the mailbox, as far as the user's connections take it.
async fn run(mut hold: Hold) {
    let wake = hold.wake.clone();
    for round in 1_usize.. {
        let mut ended = Vec::new();
        let now = wake.cx.clock.now();
        let mut go_on = true;
        let next = wake.rooms.with(&hold.user, |room| match room.next(&hold.user, now) {
            Next::Ended(n, Outcome::Expired) => {
                wake.promote(n).map(|n| Next::Ended(n, Outcome::Expired))
            }
            next => Some(next),
        });
        let Some(next) = next else { continue };
        match next {
            Next::Stop => go_on = false,
            Next::Ended(n, outcome) => ended.extend(wake.cx.endings.end(&n, outcome)),
            Next::Look => wake.look(&hold.user).await,
            Next::Push(push) => go_on = wake.push(&hold.user, &push, &mut ended).await,
        }
        // When the mailroom says to stop, it has already taken the hold back.
        hold.given_back = !go_on;
        // Told before the next push, which may be slow.
        wake.cx.tell(ended);
        if !go_on {
            return;
        }
        if round.is_multiple_of(PUSHES_IN_A_ROW) {
            tokio::task::yield_now().await;
        }
    }
}
