use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

use super::TlsConfigs;

/// How much of a response is encrypted ahead of a socket that is busy: one record. The default of 64 KiB would be that
/// much memory for each client that does not read.
const AHEAD_BYTES: usize = 16 * 1024;
/// How much of a plain request is read after its answer, so that the client sees the answer.
const UNREAD_BYTES: usize = 64 * 1024;

/// The answer to plain HTTP. It is sent without TLS too, or the client could not read it.
const PLAIN_BODY: &str = "{\"title\":\"Bad Request\",\"status\":400,\
    \"detail\":\"this port speaks TLS only: use https:// or wss://\"}";

/// Makes a TLS connection of a socket, with the certificate that is in use when the client has sent its first message.
///
/// The caller bounds the time.
pub(super) async fn handshake<S>(socket: S, configs: &TlsConfigs) -> io::Result<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut acceptor = LazyConfigAcceptor::new(Acceptor::default(), Opening::new(socket));
    let StartHandshake { accepted, io, .. } = match (&mut acceptor).await {
        Ok(start) => start,
        Err(error) => {
            if let Some(Opening { socket, is: OpeningBytes::PlainHttp }) = acceptor.take_io() {
                answer_plain_http(socket).await?;
            }
            return Err(error);
        }
    };
    let config = configs.borrow().clone();
    let start = StartHandshake::from_parts(accepted, io.socket);
    start.into_stream_with(config, |tls| tls.set_buffer_limit(Some(AHEAD_BYTES))).await
}

async fn answer_plain_http<S>(mut socket: S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{PLAIN_BODY}",
        PLAIN_BODY.len()
    );
    socket.write_all(answer.as_bytes()).await?;
    socket.shutdown().await?;
    discard(socket).await
}

/// Reads on until the client has ended its side: closing a socket with unread data would reset the connection, and the
/// client might not see what was written.
pub(super) async fn discard(mut socket: impl AsyncRead + Unpin) -> io::Result<()> {
    let (mut unread, mut left) = ([0; 1024], UNREAD_BYTES);
    while left > 0 {
        match socket.read(&mut unread).await? {
            0 => break,
            read => left = left.saturating_sub(read),
        }
    }
    Ok(())
}

/// A socket that looks at the first byte that the client sends.
struct Opening<S> {
    socket: S,
    is: OpeningBytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OpeningBytes {
    Awaited,
    /// TLS, or nothing that we know, which is left to TLS.
    Tls,
    PlainHttp,
}

/// The client has sent HTTP without TLS.
#[derive(Debug)]
struct PlainHttp;

impl fmt::Display for PlainHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("plain HTTP on a port that speaks TLS")
    }
}

impl std::error::Error for PlainHttp {}

impl<S> Opening<S> {
    fn new(socket: S) -> Self {
        Self { socket, is: OpeningBytes::Awaited }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Opening<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(cx, buffer);
        if self.is == OpeningBytes::Awaited
            && let Some(first) = buffer.filled().get(before)
        {
            // A request begins with its method. The types of TLS records are below all letters.
            if first.is_ascii_alphabetic() {
                self.is = OpeningBytes::PlainHttp;
                buffer.set_filled(before);
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, PlainHttp)));
            }
            self.is = OpeningBytes::Tls;
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Opening<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
