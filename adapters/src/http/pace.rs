use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// How long a socket has been taking no bytes.
#[derive(Debug, Clone)]
pub(crate) struct Pace(Arc<Since>);

#[derive(Debug)]
struct Since {
    begun: Instant,
    /// Milliseconds after `begun`, plus one; 0 while the socket takes what is written.
    blocked: AtomicU64,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Since { begun: Instant::now(), blocked: AtomicU64::new(0) }))
    }

    /// How long the socket has taken no byte although there is something to write; zero while it takes them.
    pub(crate) fn blocked_for(&self) -> Duration {
        match self.0.blocked.load(Relaxed) {
            0 => Duration::ZERO,
            since => self.0.begun.elapsed().saturating_sub(Duration::from_millis(since - 1)),
        }
    }

    /// Whether there is something to write that the socket does not take now.
    #[cfg(feature = "sse")]
    pub(crate) fn is_blocked(&self) -> bool {
        self.0.blocked.load(Relaxed) != 0
    }

    fn wrote(&self) {
        if self.0.blocked.load(Relaxed) != 0 {
            self.0.blocked.store(0, Relaxed);
        }
    }

    fn blocked(&self) {
        if self.0.blocked.load(Relaxed) == 0 {
            let millis = u64::try_from(self.0.begun.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
            self.0.blocked.store(millis + 1, Relaxed);
        }
    }
}

/// A socket that updates its [`Pace`].
pub(crate) struct Paced<S> {
    socket: S,
    pace: Pace,
}

impl<S> Paced<S> {
    pub(crate) fn new(socket: S, pace: Pace) -> Self {
        Self { socket, pace }
    }

    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Pending => self.pace.blocked(),
            Poll::Ready(_) => self.pace.wrote(),
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buffer)
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

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_byte_is_enough() {
        let (ours, mut theirs) = tokio::io::duplex(4);
        let pace = Pace::new();
        let mut socket = Paced::new(ours, pace.clone());
        let write = tokio::spawn(async move { socket.write_all(b"12345678").await });
        tokio::time::sleep(Duration::from_secs(7)).await;
        assert_eq!(pace.blocked_for(), Duration::from_secs(7));
        let _ = theirs.read_u8().await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(pace.blocked_for(), Duration::from_secs(2), "it took one, and is blocked again");
        theirs.read_exact(&mut [0; 7]).await.unwrap();
        write.await.unwrap().unwrap();
        assert_eq!(pace.blocked_for(), Duration::ZERO);
    }
}
