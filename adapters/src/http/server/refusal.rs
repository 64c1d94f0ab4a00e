use std::io;

use super::listener::Stream;

#[cfg(feature = "tls")]
use {
    super::handshake::{discard, handshake},
    super::listener::ListenerTls,
    std::time::Duration,
    tokio::io::AsyncWriteExt as _,
    tokio::net::TcpStream,
};

/// How many refusals over TLS may be under way at once. Beyond them, connections are closed without a word: a refusal
/// needs a handshake, and must not cost more than what it refuses.
#[cfg(feature = "tls")]
pub(super) const MOST_OVER_TLS: usize = 64;
/// How long a refusal over TLS may take.
#[cfg(feature = "tls")]
const TIME_OVER_TLS: Duration = Duration::from_secs(5);

/// Refuses a connection for which there is no place, without reading its request. Without TLS, the refusal is sent as
/// far as the socket takes it at once.
pub(super) fn refuse(stream: Stream, status: &str) {
    let answer = format!(
        "HTTP/1.1 {status}\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    );
    let written: io::Result<usize> = match stream {
        Stream::Tcp(stream) => stream.try_write(answer.as_bytes()),
        Stream::Unix(stream) => stream.try_write(answer.as_bytes()),
        #[cfg(feature = "tls")]
        Stream::Tls(stream, tls) => return refuse_over_tls(stream, tls, answer),
    };
    if let Err(error) = written {
        tracing::debug!(%error, "a refusal was not written");
    }
}

#[cfg(feature = "tls")]
fn refuse_over_tls(stream: TcpStream, tls: ListenerTls, answer: String) {
    let Ok(slot) = tls.refusals.try_acquire_owned() else { return };
    tokio::spawn(async move {
        let refusal = async {
            let mut stream = handshake(stream, &tls.configs).await?;
            stream.write_all(answer.as_bytes()).await?;
            stream.shutdown().await?;
            discard(stream).await
        };
        if let Ok(Err(error)) = tokio::time::timeout(TIME_OVER_TLS, refusal).await {
            tracing::debug!(%error, "a refusal was not written");
        }
        drop(slot);
    });
}
