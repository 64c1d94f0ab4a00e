//! A keep-alive connection that publishes. Requests are prepared bytes, and of a response only the status and the
//! length are read: an HTTP client would take CPU time from the server beside it.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::servers::Running;
use crate::stream::{Stream, connect};

pub(crate) struct Publisher {
    stream: Stream,
    buffer: Vec<u8>,
}

impl Publisher {
    pub(crate) async fn connect(server: &Running, n: usize) -> io::Result<Self> {
        Ok(Self { stream: connect(server, n).await?, buffer: Vec::with_capacity(4096) })
    }

    /// Sends a request and waits for its response, which must be a success.
    pub(crate) async fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let Some((status, length)) = response(&self.buffer) else { continue };
            if !(200..300).contains(&status) {
                return Err(io::Error::other(String::from_utf8_lossy(&self.buffer).into_owned()));
            }
            if self.buffer.len() >= length {
                return Ok(());
            }
        }
    }
}

/// The status of a response, and its length with its head. `None` while the head is incomplete.
fn response(bytes: &[u8]) -> Option<(u16, usize)> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&bytes[..head]).ok()?;
    let status = text.get(9..12)?.parse().ok()?;
    let length = text.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    Some((status, head + 4 + length.unwrap_or(0)))
}
