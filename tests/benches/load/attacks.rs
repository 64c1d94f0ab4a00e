//! Clients that misbehave, in a thread of their own, so that what they do takes no time from the healthy ones.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;

use crate::process;
use crate::servers::Running;

/// How many connections readers have.
const READERS: usize = 2_000;
/// How long a reader stays before another one takes its place. The server closes one that stopped earlier: it takes
/// some six seconds until its socket is full, and is too slow ten seconds later.
const READER_STAYS: Duration = Duration::from_secs(18);
/// How many messages readers are sent at once: 2,000 in a second.
const BATCH: usize = 20;
const BATCHES_EVERY: Duration = Duration::from_millis(10);
/// How long such a message is.
const FLOOD_BYTES: usize = 8 * 1024;
/// What Ethernet carries in one packet.
const SEGMENT_BYTES: u32 = 1448;
/// With this, and segments of that size, a socket takes about 50 KiB that nobody reads.
const RECEIVE_BYTES: u32 = 4096;

/// How somebody misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attack {
    /// No attack, but the load of the next one: thousands of WebSocket connections that read.
    Readers,
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
    pub(crate) const ALL: [Self; 6] = [
        Self::Readers,
        Self::StoppedReaders,
        Self::SlowHeads,
        Self::OpenAndClose,
        Self::Frames,
        Self::DeepBodies,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Readers => "2,000 readers, 2,000 messages/s of 8 KiB to them",
            Self::StoppedReaders => "the same readers, but they stop",
            Self::SlowHeads => "1,000 heads that come a byte at a time",
            Self::OpenAndClose => "500 WebSockets/s opened and closed",
            Self::Frames => "50 WebSockets, 20,000 pings and acks/s",
            Self::DeepBodies => "500 deeply nested bodies/s",
        }
    }

    /// How long it takes until it is at its height.
    pub(crate) fn grows_for(self) -> Duration {
        match self {
            // Each has been replaced once: from then on, some fill, some stand still, and some are closed.
            Self::Readers | Self::StoppedReaders => READER_STAYS + Duration::from_secs(2),
            _ => Duration::from_secs(2),
        }
    }

    /// Begins, and goes on until the result is dropped.
    pub(crate) fn begin(self, server: &Running) -> Attacking {
        let over = Arc::new(AtomicBool::new(false));
        let target = Arc::new(Target::of(server, Arc::clone(&over)));
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let _ = tell.send(process::this_thread());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime starts");
            LocalSet::new().block_on(&runtime, self.run(target));
        });
        let stat = told.recv().expect("it has begun");
        Attacking { over, thread: Some(thread), stat }
    }

    async fn run(self, target: Arc<Target>) {
        let many = match self {
            Self::Readers | Self::StoppedReaders => READERS,
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
        if many == READERS {
            let _ = flood(&target).await;
        }
        while !target.over.load(Relaxed) {
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// One connection, until it ends.
    async fn one(self, target: &Target, n: usize) -> io::Result<()> {
        match self {
            Self::Readers | Self::StoppedReaders => {
                let left = target.reader_stays(n);
                let mut socket = target.websocket(n).await?;
                let reading = async {
                    if self == Self::StoppedReaders {
                        std::future::pending::<()>().await;
                    }
                    let mut frames = vec![0; 16 * 1024];
                    while socket.read(&mut frames).await.is_ok_and(|read| read > 0) {}
                };
                let _ = tokio::time::timeout(left, reading).await;
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

/// Publishes to readers, whether they read or not.
async fn flood(target: &Target) -> io::Result<()> {
    let mut socket = TcpStream::connect(target.address).await?;
    let text = "x".repeat(FLOOD_BYTES);
    // A message for a user who is away waits for a few seconds only: a minute of them would be a gigabyte.
    let draft = |n| {
        let user = stranger(n);
        format!(r#"{{"user_id":"{user}","kind":"flood","payload":"{text}","ttl":5}}"#)
    };
    let drafts: Vec<String> = (0..READERS).map(draft).collect();
    let request =
        |drafts: &[String]| target.request("/v1/notifications", &format!("[{}]", drafts.join(",")));
    let requests: Vec<Vec<u8>> = drafts.chunks(BATCH).map(request).collect();
    let mut turns = tokio::time::interval(BATCHES_EVERY);
    let mut answer = vec![0; 64 * 1024];
    for request in requests.iter().cycle() {
        if target.over.load(Relaxed) {
            break;
        }
        turns.tick().await;
        socket.write_all(request).await?;
        let _ = socket.read(&mut answer).await?;
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
    stat: PathBuf,
}

impl Attacking {
    /// The CPU time that it takes itself: on a machine with few cores, a part of what others notice is this.
    pub(crate) fn cpu(&self) -> Duration {
        process::cpu(&self.stat)
    }
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
    begun: Instant,
    headers: String,
    handshakes: Vec<Vec<u8>>,
    over: Arc<AtomicBool>,
}

impl Target {
    fn of(server: &Running, over: Arc<AtomicBool>) -> Self {
        let handshakes = (0..READERS).map(|n| server.handshake(&stranger(n))).collect();
        let (address, begun, headers) = (server.address, Instant::now(), server.headers());
        Self { address, begun, headers, handshakes, over }
    }

    /// How long the n-th reader stays if it comes now: their ends are spread evenly over time.
    fn reader_stays(&self, n: usize) -> Duration {
        let part = |of: usize| u32::try_from(of).expect("few readers");
        let until_turn = READER_STAYS * part(READERS - n) / part(READERS);
        let since = (self.begun.elapsed() + until_turn).as_secs_f64();
        let since = Duration::from_secs_f64(since % READER_STAYS.as_secs_f64());
        READER_STAYS.saturating_sub(since)
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
        let socket = TcpSocket::new_v4()?;
        // As over a real network: to a local socket with large segments, the system writes three megabytes ahead.
        SockRef::from(&socket).set_tcp_mss(SEGMENT_BYTES)?;
        socket.set_recv_buffer_size(RECEIVE_BYTES)?;
        let mut socket = socket.connect(self.address).await?;
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
