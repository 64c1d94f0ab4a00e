use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::ServerSettings;

/// What a connection does, and since when: told by its socket and its requests, and looked at by its watch.
#[derive(Debug)]
pub(super) struct Pace {
    begun: Instant,
    /// A [`Phase`], and above its two bits the milliseconds since `begun` at which it began.
    phase: AtomicU64,
    /// The millisecond after `begun` since which the socket takes nothing, plus one; 0: it takes what there is.
    blocked: AtomicU64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A request's head is awaited: the first one, or one of which something has come.
    Head = 0,
    /// A request is being answered.
    Busy = 1,
    /// Answered; the connection is kept for another request.
    Idle = 2,
}

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// The head of its request did not come.
    Head,
    /// Nobody used it again.
    Idle,
    /// Its socket took nothing.
    Write,
}

impl Pace {
    pub(super) fn begin() -> Self {
        Self { begun: Instant::now(), phase: AtomicU64::new(0), blocked: AtomicU64::new(0) }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX >> 2)
    }

    fn enter(&self, phase: Phase) {
        self.phase.store(self.now() << 2 | phase as u64, Ordering::Relaxed);
    }

    fn phase(&self) -> (Phase, u64) {
        let packed = self.phase.load(Ordering::Relaxed);
        let phase = match packed & 3 {
            0 => Phase::Head,
            1 => Phase::Busy,
            _ => Phase::Idle,
        };
        (phase, packed >> 2)
    }

    /// A request's head is complete.
    pub(super) fn busy(&self) {
        self.enter(Phase::Busy);
    }

    /// A request has been answered.
    pub(super) fn idle(&self) {
        self.enter(Phase::Idle);
    }

    fn received(&self) {
        if self.phase().0 == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    fn wrote(&self) {
        if self.blocked.load(Ordering::Relaxed) != 0 {
            self.blocked.store(0, Ordering::Relaxed);
            // An answer that its request has left behind is still on its way: the connection is idle after it.
            if self.phase().0 == Phase::Idle {
                self.enter(Phase::Idle);
            }
        }
    }

    fn write_blocked(&self) {
        if self.blocked.load(Ordering::Relaxed) == 0 {
            self.blocked.store(self.now() + 1, Ordering::Relaxed);
        }
    }

    /// Since when no request is under way, if none is.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        let (phase, since) = self.phase();
        (phase != Phase::Busy).then(|| self.begun + Duration::from_millis(since))
    }

    /// When to look again, or why the connection ends now. No deadline that is set later is missed: none of them is
    /// nearer than the shortest of the times.
    pub(super) fn check(&self, settings: &ServerSettings) -> Result<Instant, Overdue> {
        let now = Instant::now();
        let (phase, since) = self.phase();
        let at = |millis, timeout: Duration| self.begun + Duration::from_millis(millis) + timeout;
        let ServerSettings { head_timeout, keep_alive, write_timeout, .. } = settings;
        let mut next = now + (*head_timeout).min(*keep_alive).min(*write_timeout);
        let blocked = self.blocked.load(Ordering::Relaxed);
        let waiting = match phase {
            _ if blocked > 0 => None,
            Phase::Head => Some((at(since, *head_timeout), Overdue::Head)),
            Phase::Idle => Some((at(since, *keep_alive), Overdue::Idle)),
            Phase::Busy => None,
        };
        let writing = (blocked > 0).then(|| (at(blocked - 1, *write_timeout), Overdue::Write));
        for (deadline, overdue) in waiting.into_iter().chain(writing) {
            if deadline <= now {
                return Err(overdue);
            }
            next = next.min(deadline);
        }
        Ok(next)
    }
}

/// A socket that tells its [`Pace`].
pub(super) struct Paced<S> {
    pub(super) socket: S,
    pub(super) pace: std::sync::Arc<Pace>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.pace.received();
        }
        read
    }
}

impl<S> Paced<S> {
    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Pending => self.pace.write_blocked(),
            Poll::Ready(_) => self.pace.wrote(),
        }
        written
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
