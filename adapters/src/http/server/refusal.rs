use std::io;

use super::listener::Stream;

#[cfg(feature = "tls")]
use {
    super::TlsConfigs,
    super::handshake::{discard, handshake},
    std::sync::Arc,
    std::time::Duration,
    tokio::io::AsyncWriteExt as _,
    tokio::net::TcpStream,
    tokio::sync::Semaphore,
};

/// How many refusals over TLS may be under way at once. Beyond them, connections are closed without a word: a refusal
/// needs a handshake, and must not cost more than what it refuses.
#[cfg(feature = "tls")]
const MOST_OVER_TLS: usize = 64;
/// How long a refusal over TLS may take.
#[cfg(feature = "tls")]
const TIME_OVER_TLS: Duration = Duration::from_secs(5);

/// Refuses connections for which there is no place.
pub(super) struct Refusals {
    #[cfg(feature = "tls")]
    over_tls: Arc<Semaphore>,
}

impl Refusals {
    pub(super) fn new() -> Self {
        Self {
            #[cfg(feature = "tls")]
            over_tls: Arc::new(Semaphore::new(MOST_OVER_TLS)),
        }
    }

    /// Sends a refusal without reading the request. Without TLS it is sent as far as the socket takes it at once.
    pub(super) fn send(&self, stream: Stream, status: &str) {
        let answer = format!(
            "HTTP/1.1 {status}\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        );
        let written: io::Result<usize> = match stream {
            Stream::Tcp(stream) => stream.try_write(answer.as_bytes()),
            Stream::Unix(stream) => stream.try_write(answer.as_bytes()),
            #[cfg(feature = "tls")]
            Stream::Tls(stream, configs) => return self.send_over_tls(stream, configs, answer),
        };
        if let Err(error) = written {
            tracing::debug!(%error, "a refusal was not written");
        }
    }

    #[cfg(feature = "tls")]
    fn send_over_tls(&self, stream: TcpStream, configs: TlsConfigs, answer: String) {
        let Ok(slot) = Arc::clone(&self.over_tls).try_acquire_owned() else { return };
        tokio::spawn(async move {
            let refusal = async {
                let mut stream = handshake(stream, &configs).await?;
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
}
