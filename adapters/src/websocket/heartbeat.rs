use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep};

use super::WebSocketSettings;

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
    /// When the last ping was asked for, if it is unanswered.
    unanswered: Option<Instant>,
    /// Until the next ping or, with one unanswered, until it is too late for the answer.
    timer: Pin<&'a mut Sleep>,
}

impl<'a> Heartbeat<'a> {
    /// The first ping is due an interval from now. `timer` is any timer; it is set here.
    pub(super) fn new(
        pulse: &'a Pulse,
        settings: &'a WebSocketSettings,
        mut timer: Pin<&'a mut Sleep>,
    ) -> Self {
        timer.as_mut().reset(Instant::now() + settings.ping_interval);
        Self { pulse, settings, unanswered: None, timer }
    }

    /// Is ready once a ping has not been answered in time. Called before the writer is polled, because it may ask
    /// for a ping.
    pub(super) fn poll_unanswered(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.move_on();
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if self.unanswered.is_some() {
                return Poll::Ready(());
            }
            let now = Instant::now();
            self.pulse.heard.store(false, Ordering::Relaxed);
            self.pulse.due.store(true, Ordering::Relaxed);
            self.unanswered = Some(now);
            self.timer.as_mut().reset(now + self.settings.pong_timeout);
        }
    }

    /// Moves the timer on to the next ping if the last one has been answered. Called after the reader was polled.
    pub(super) fn move_on(&mut self) {
        if let Some(asked) = self.unanswered
            && self.pulse.heard.load(Ordering::Relaxed)
        {
            self.unanswered = None;
            self.timer.as_mut().reset(asked + self.settings.ping_interval);
        }
    }
}
