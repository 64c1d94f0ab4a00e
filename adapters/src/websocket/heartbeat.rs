use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use doorstep_domain::ports::Clock;
use tokio::time::{Instant, Sleep};

use super::WebSocketSettings;

/// Pings are due at multiples of this, for all connections: a thread that wakes for one ping sends those of many
/// connections, and reads their answers. Short, so that a server with many connections still has an even load.
const BEAT: Duration = Duration::from_millis(50);

/// What the reader and the writer of one connection tell its heartbeat, and it them.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// A ping is due. The writer takes it.
    due: AtomicBool,
    /// The client has sent something since the last ping.
    heard: AtomicBool,
}

impl Pulse {
    /// The client has sent something: any message shows that it is there.
    pub(super) fn hear(&self) {
        self.heard.store(true, Ordering::Relaxed);
    }

    /// Waits until a ping is due. Nothing wakes it: the writer is polled after the heartbeat, in the same task.
    pub(super) async fn ping_is_due(&self) {
        std::future::poll_fn(|_| {
            if self.due.swap(false, Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// Asks for pings, and ends when one has not been answered in time, even if it could not be written.
///
/// An idle connection costs one timer and two wake-ups per ping, one to send it and one to read its answer: an
/// answer moves the timer on to the next ping. With many idle connections, that is most of what the server does.
pub(super) struct Heartbeat<'a> {
    pulse: &'a Pulse,
    settings: &'a WebSocketSettings,
    clock: &'a dyn Clock,
    /// The last ping has not been answered.
    unanswered: bool,
    /// Until the next ping or, with one unanswered, until it is too late for the answer.
    timer: Pin<&'a mut Sleep>,
}

impl<'a> Heartbeat<'a> {
    /// The first ping is due an interval from now. `timer` is any timer; it is set here.
    pub(super) fn new(
        pulse: &'a Pulse,
        settings: &'a WebSocketSettings,
        clock: &'a dyn Clock,
        timer: Pin<&'a mut Sleep>,
    ) -> Self {
        let mut heartbeat = Self { pulse, settings, clock, unanswered: false, timer };
        heartbeat.next_ping(Instant::now());
        heartbeat
    }

    /// Sets the timer to the last beat within the interval since the last ping, and at most a tenth of it early.
    fn next_ping(&mut self, last: Instant) {
        let (now, due) = (Instant::now(), last + self.settings.ping_interval);
        let then = self.clock.now() + due.saturating_duration_since(now);
        let beat = i64::try_from(BEAT.as_micros()).unwrap_or(i64::MAX);
        let early = u64::try_from(then.as_micros().rem_euclid(beat)).unwrap_or(0);
        let early = Duration::from_micros(early).min(self.settings.ping_interval / 10);
        let due = due.checked_sub(early).unwrap_or(due);
        self.timer.as_mut().reset(due.max(now));
    }

    /// Is ready once a ping has not been answered in time. Called before the writer is polled, because it may ask
    /// for a ping.
    pub(super) fn poll_unanswered(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.move_on();
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if self.unanswered {
                return Poll::Ready(());
            }
            self.pulse.heard.store(false, Ordering::Relaxed);
            self.pulse.due.store(true, Ordering::Relaxed);
            self.unanswered = true;
            self.timer.as_mut().reset(Instant::now() + self.settings.pong_timeout);
        }
    }

    /// Moves the timer on to the next ping if the last one has been answered. Called after the reader was polled.
    pub(super) fn move_on(&mut self) {
        if self.unanswered && self.pulse.heard.load(Ordering::Relaxed) {
            self.unanswered = false;
            let asked = self.timer.deadline().checked_sub(self.settings.pong_timeout);
            self.next_ping(asked.unwrap_or_else(Instant::now));
        }
    }
}
