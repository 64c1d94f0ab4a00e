//! Clients that misbehave, in a thread of their own, so that what they do takes no time from the healthy ones.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;

use crate::messages::payload;
use crate::servers::Running;

/// How somebody misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attack {
    /// Thousands of WebSocket connections that read nothing, and to each of which messages are published.
    StoppedReaders,
    /// Connections that send the head of a request one byte at a time.
    SlowHeads,
    /// WebSocket connections that are opened and closed again at once.
    OpenAndClose,
    /// WebSocket connections that send pings and acknowledgements of nothing without end.
    Frames,
    /// Requests with bodies that are nested deeply.
    DeepBodies,
}

impl Attack {
    pub(crate) const ALL: [Self; 5] =
        [Self::StoppedReaders, Self::SlowHeads, Self::OpenAndClose, Self::Frames, Self::DeepBodies];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::StoppedReaders => "2,000 readers that stop, 2,000 messages/s to them",
            Self::SlowHeads => "1,000 heads that come a byte at a time",
            Self::OpenAndClose => "500 WebSockets/s opened and closed",
            Self::Frames => "50 WebSockets, 20,000 pings and acks/s",
            Self::DeepBodies => "500 deeply nested bodies/s",
        }
    }

    /// Begins, and goes on until the result is dropped.
    pub(crate) fn begin(self, server: &Running) -> Attacking {
        let over = Arc::new(AtomicBool::new(false));
        let target = Arc::new(Target::of(server, Arc::clone(&over)));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime starts");
            LocalSet::new().block_on(&runtime, self.run(target));
        });
        Attacking { over, thread: Some(thread) }
    }

    async fn run(self, target: Arc<Target>) {
        let many = match self {
            Self::StoppedReaders => 2_000,
            Self::SlowHeads => 1_000,
            Self::OpenAndClose | Self::DeepBodies => 10,
            Self::Frames => 50,
        };
        for n in 0..many {
            let target = Arc::clone(&target);
            spawn_local(async move {
                while !target.over.load(Relaxed) {
                    // The server may end the connection; then it begins again.
                    let _ = self.one(&target, n).await;
                    sleep(Duration::from_millis(20)).await;
                }
            });
        }
        if self == Self::StoppedReaders {
            let _ = flood(&target, many).await;
        }
        while !target.over.load(Relaxed) {
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// One connection, until it ends.
    async fn one(self, target: &Target, n: usize) -> io::Result<()> {
        match self {
            Self::StoppedReaders => {
                let _open = target.websocket(n).await?;
                while !target.over.load(Relaxed) {
                    sleep(Duration::from_millis(100)).await;
                }
            }
            Self::SlowHeads => {
                let mut socket = TcpStream::connect(target.address).await?;
                for byte in b"GET / HTTP/1.1\r\nhost: localhost\r\nx: ".iter().chain(&[b'y'; 1000])
                {
                    socket.write_all(&[*byte]).await?;
                    sleep(Duration::from_millis(200)).await;
                }
            }
            Self::OpenAndClose => drop(target.websocket(n).await?),
            Self::Frames => {
                let mut socket = target.websocket(n).await?;
                // A ping, and an acknowledgement of nothing; both with a mask of zeros.
                let ack = br#"{"type":"ack","id":"01890a5d-ac96-774b-bcce-b302099a8057"}"#;
                let mut frames = vec![0x89, 0x80, 0, 0, 0, 0, 0x81];
                frames.push(0x80 | u8::try_from(ack.len()).expect("a short frame"));
                frames.extend([0; 4]);
                frames.extend(ack);
                while !target.over.load(Relaxed) {
                    socket.write_all(&frames).await?;
                    let mut pongs = [0; 1024];
                    let _ = socket.try_read(&mut pongs);
                    sleep(Duration::from_millis(5)).await;
                }
            }
            Self::DeepBodies => {
                let mut socket = TcpStream::connect(target.address).await?;
                let request = target.request("/v1/notifications", &"[".repeat(20_000));
                while !target.over.load(Relaxed) {
                    socket.write_all(&request).await?;
                    let mut answer = [0; 1024];
                    if socket.read(&mut answer).await? == 0 {
                        return Ok(());
                    }
                    sleep(Duration::from_millis(20)).await;
                }
            }
        }
        Ok(())
    }
}

/// Publishes to those who do not read.
async fn flood(target: &Target, users: usize) -> io::Result<()> {
    let mut socket = TcpStream::connect(target.address).await?;
    let mut next = 0;
    while !target.over.load(Relaxed) {
        let drafts: Vec<String> = (next..next + 100)
            .map(|n| {
                let user = stranger(n % users);
                let payload = payload(0);
                format!("{{\"user_id\":\"{user}\",\"kind\":\"flood\",\"payload\":{payload}}}")
            })
            .collect();
        next += 100;
        socket
            .write_all(&target.request("/v1/notifications", &format!("[{}]", drafts.join(","))))
            .await?;
        let mut answer = [0; 8 * 1024];
        let _ = socket.read(&mut answer).await?;
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

fn stranger(n: usize) -> String {
    format!("stranger-{n:06}")
}

/// An attack that goes on.
pub(crate) struct Attacking {
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Attacking {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What an attacker knows of the server.
struct Target {
    address: SocketAddr,
    headers: String,
    handshakes: Vec<Vec<u8>>,
    over: Arc<AtomicBool>,
}

impl Target {
    fn of(server: &Running, over: Arc<AtomicBool>) -> Self {
        let handshakes = (0..2_000).map(|n| server.handshake(&stranger(n))).collect();
        Self { address: server.address, headers: server.headers(), handshakes, over }
    }

    fn request(&self, path: &str, body: &str) -> Vec<u8> {
        let (headers, length) = (&self.headers, body.len());
        format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }

    /// Opens a WebSocket, and reads no more than the answer to its handshake.
    async fn websocket(&self, n: usize) -> io::Result<TcpStream> {
        let mut socket = TcpStream::connect(self.address).await?;
        socket.write_all(&self.handshakes[n]).await?;
        let mut answer = [0; 512];
        let read = socket.read(&mut answer).await?;
        if answer[..read].starts_with(b"HTTP/1.1 101") {
            Ok(socket)
        } else {
            Err(io::ErrorKind::ConnectionRefused.into())
        }
    }
}
