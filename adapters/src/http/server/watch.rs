use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::ServerSettings;
use super::large_heads::LARGE_BYTES;
use crate::http::pace::{Pace, Paced};

/// The phase of a connection and when it began, reported by its socket and its requests.
#[derive(Debug)]
pub(super) struct Watch {
    begun: Instant,
    /// A [`ConnectionPhase`], and above its two bits the milliseconds since `begun` at which it began.
    phase: AtomicU64,
    /// The bytes that have arrived since the connection began to wait for a head.
    head_bytes: AtomicUsize,
    large_head: Notify,
    /// The pace at which its socket takes bytes.
    pace: Pace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ConnectionPhase {
    /// Waiting for a request's head: the first one, or one that has begun to arrive.
    Head = 0,
    /// Answering a request.
    Busy = 1,
    /// Answered: the connection is kept for another request.
    Idle = 2,
}

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// The head of its request did not arrive.
    Head,
    /// It was idle for too long.
    Idle,
    /// Its socket took no byte.
    Write,
}

impl Watch {
    pub(super) fn begin() -> Self {
        Self {
            begun: Instant::now(),
            phase: AtomicU64::new(0),
            head_bytes: AtomicUsize::new(0),
            large_head: Notify::new(),
            pace: Pace::new(),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX >> 2)
    }

    fn enter(&self, phase: ConnectionPhase) {
        self.phase.store(self.now() << 2 | phase as u64, Ordering::Relaxed);
    }

    fn phase(&self) -> (ConnectionPhase, u64) {
        let packed = self.phase.load(Ordering::Relaxed);
        let phase = match packed & 3 {
            0 => ConnectionPhase::Head,
            1 => ConnectionPhase::Busy,
            _ => ConnectionPhase::Idle,
        };
        (phase, packed >> 2)
    }

    /// A request's head is complete.
    pub(super) fn busy(&self) {
        self.enter(ConnectionPhase::Busy);
    }

    /// A request has been answered.
    pub(super) fn idle(&self) {
        self.enter(ConnectionPhase::Idle);
    }

    fn received(&self, bytes: usize) {
        match self.phase().0 {
            // The bytes of a body.
            ConnectionPhase::Busy => return,
            ConnectionPhase::Idle => {
                self.enter(ConnectionPhase::Head);
                self.head_bytes.store(0, Ordering::Relaxed);
            }
            ConnectionPhase::Head => {}
        }
        // With a complete head the connection would be busy by now: the bytes before these are all of a head.
        if self.head_bytes.fetch_add(bytes, Ordering::Relaxed) >= LARGE_BYTES {
            self.large_head.notify_one();
        }
    }

    /// Waits until a large head arrives.
    pub(super) async fn large_head(&self) {
        self.large_head.notified().await;
    }

    /// The pace at which its socket takes bytes.
    pub(super) fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Since when the connection waits for a request; `None` while it is busy.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        let (phase, since) = self.phase();
        (phase != ConnectionPhase::Busy).then(|| self.begun + Duration::from_millis(since))
    }

    /// Returns when to check again, or why the connection must end now. A deadline that is set later is not
    /// missed: none of them is nearer than the shortest timeout.
    pub(super) fn check(&self, settings: &ServerSettings) -> Result<Instant, Overdue> {
        let now = Instant::now();
        let ServerSettings { head_timeout, keep_alive, write_timeout, .. } = settings;
        let next = now + (*head_timeout).min(*keep_alive).min(*write_timeout);
        let (phase, since) = self.phase();
        let blocked = self.pace.blocked_for();
        let (deadline, overdue) = if blocked.is_zero() {
            let since = self.begun + Duration::from_millis(since);
            match phase {
                ConnectionPhase::Head => (since + *head_timeout, Overdue::Head),
                ConnectionPhase::Idle => (since + *keep_alive, Overdue::Idle),
                ConnectionPhase::Busy => return Ok(next),
            }
        } else {
            // A response that its request has finished is still being written: the connection is idle only after
            // it.
            if phase == ConnectionPhase::Idle {
                self.enter(ConnectionPhase::Idle);
            }
            (now + write_timeout.saturating_sub(blocked), Overdue::Write)
        };
        if deadline <= now { Err(overdue) } else { Ok(next.min(deadline)) }
    }
}

/// A socket that reports to its [`Watch`].
pub(super) struct Watched<S> {
    socket: Paced<S>,
    watch: Arc<Watch>,
}

impl<S> Watched<S> {
    pub(super) fn new(socket: S, watch: Arc<Watch>) -> Self {
        Self { socket: Paced::new(socket, watch.pace.clone()), watch }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(cx, buffer);
        if let bytes @ 1.. = buffer.filled().len() - before {
            self.watch.received(bytes);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, slices)
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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn is_large(watch: &Watch) -> bool {
        watch.large_head().now_or_never().is_some()
    }

    #[tokio::test]
    async fn a_head_is_large_if_it_goes_on_after_8_kib() {
        let watch = Watch::begin();
        watch.received(LARGE_BYTES);
        assert!(!is_large(&watch), "it may be complete");
        watch.received(1);
        assert!(is_large(&watch));
    }

    #[tokio::test]
    async fn a_body_is_no_head_even_if_both_arrive_together() {
        let watch = Watch::begin();
        for _ in 0..3 {
            watch.received(8 * LARGE_BYTES);
            watch.busy();
            watch.received(8 * LARGE_BYTES);
            watch.idle();
        }
        assert!(!is_large(&watch));
        // A head that follows is counted from its beginning.
        watch.received(LARGE_BYTES / 2);
        watch.received(LARGE_BYTES / 2);
        assert!(!is_large(&watch));
        watch.received(1);
        assert!(is_large(&watch));
    }
}
