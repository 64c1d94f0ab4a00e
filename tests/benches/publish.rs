//! What the publish API takes: `cargo bench -p doorstep-tests --bench publish`.
//!
//! The real binary as a process of its own, without simulation and database, and 32 connections that are kept
//! alive, each of which sends its next request when it has the answer to the last. Notifications of 200
//! bytes of payload for absent users wait for 5 s and expire, so that what they cost in the end is part of it.
//! Requests are written by hand and sent as they are: on a machine with few cores an HTTP client would take
//! from the server what it costs itself.
//!
//! `CPU` is the server's own time, user and system, a notification (Linux only).
//!
//! Learnt here: the log line of each outcome is at level `info`, and standard error is a pipe that somebody
//! has to read; a node that publishes in earnest runs with `DOORSTEP_LOG=warn`, as this one does.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench that cannot go on ends here")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use doorstep_tests::server::Doorstep;
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const CONNECTIONS: usize = 32;
const PAYLOAD_BYTES: usize = 200;
const LASTS: Duration = Duration::from_secs(5);

const FILE: &str = "
[delivery]
max_pending = 10000000
max_pending_bytes = \"4GiB\"
[trading]
enabled = false
[inbox]
enabled = false
[handover]
enabled = false
";

#[tokio::main]
async fn main() {
    // `cargo test --benches` must not take half a minute.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    println!(
        "{CONNECTIONS} connections, {PAYLOAD_BYTES} bytes of payload, {} s a row\n",
        LASTS.as_secs()
    );
    println!(
        "  a request   requests/s   notifications/s   p50 ms   p99 ms   CPU us a notification"
    );
    for batch in [1, 10, 100, 1000] {
        row(batch).await;
    }
}

async fn row(batch: usize) {
    let made = Doorstep::new(&["key", "new", "bench"]).run().await;
    let (key, line) = made.stdout.split_once('\n').unwrap();
    let server = Doorstep::new(&["--listen", "127.0.0.1:0"])
        .file("doorstep.toml", &format!("{FILE}[keys]\n{line}"))
        .env("DOORSTEP_LOG", "warn")
        .start()
        .await;
    let address = server.url().trim_start_matches("http://").to_owned();
    let requests = Arc::new(AtomicU64::new(0));
    let cpu_before = cpu(server.pid());
    let begun = Instant::now();
    let publishers = (0..CONNECTIONS).map(|at| {
        let request = Request::new(&address, key, batch, at);
        tokio::spawn(publish(address.clone(), request, begun + LASTS, requests.clone()))
    });
    let mut times = Histogram::<u64>::new(3).unwrap();
    for publisher in publishers.collect::<Vec<_>>() {
        times.add(publisher.await.unwrap()).unwrap();
    }
    let took = begun.elapsed().as_secs_f64();
    let cpu = cpu_before.zip(cpu(server.pid())).map(|(before, after)| after - before);
    let requests = to_f64(requests.load(Relaxed));
    let notifications = requests * to_f64(batch.try_into().unwrap());
    let cpu = cpu.map_or("-".to_owned(), |cpu| format!("{:.2}", cpu * 1e6 / notifications));
    println!(
        "  {batch:9}   {:10.0}   {:15.0}   {:6.2}   {:6.2}   {cpu:>21}",
        requests / took,
        notifications / took,
        to_f64(times.value_at_quantile(0.5)) / 1e3,
        to_f64(times.value_at_quantile(0.99)) / 1e3,
    );
}

/// Sends the same request until the time is up; answers how long each took, in microseconds.
async fn publish(
    address: String,
    mut request: Request,
    until: Instant,
    requests: Arc<AtomicU64>,
) -> Histogram<u64> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut times = Histogram::new(3).unwrap();
    let mut buffer = Vec::new();
    while Instant::now() < until {
        let bytes = request.renew();
        let sent = Instant::now();
        stream.write_all(bytes).await.unwrap();
        receive(&mut stream, &mut buffer).await;
        times.record(sent.elapsed().as_micros().try_into().unwrap()).unwrap();
        requests.fetch_add(1, Relaxed);
    }
    times
}

/// Reads one answer, which must be a 202 with nothing rejected.
async fn receive(stream: &mut TcpStream, buffer: &mut Vec<u8>) {
    buffer.clear();
    loop {
        assert_ne!(stream.read_buf(buffer).await.unwrap(), 0, "the server hung up");
        let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&buffer[..end]).unwrap();
        assert!(head.starts_with("HTTP/1.1 202"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let all = end + 4 + length.unwrap().parse::<usize>().unwrap();
        while buffer.len() < all {
            assert_ne!(stream.read_buf(buffer).await.unwrap(), 0, "the server hung up");
        }
        let rejected = b"rejected";
        assert!(!buffer.windows(rejected.len()).any(|w| w == rejected), "the node is full");
        return;
    }
}

/// A request that is sent again and again, each time about other users: a mailbox that is full would be
/// another bench.
struct Request {
    bytes: Vec<u8>,
    /// Where the numbers of its users stand, and the next of them.
    places: Vec<usize>,
    next: u32,
}

impl Request {
    /// The digits of a user's number.
    const DIGITS: usize = 8;

    fn new(address: &str, key: &str, batch: usize, at: usize) -> Self {
        let payload = "x".repeat(PAYLOAD_BYTES - 2);
        let one = format!(
            r#"{{"user_id":"{at:02}-00000000","kind":"bench","ttl":5,"payload":"{payload}"}}"#
        );
        let body = match batch {
            1 => one,
            _ => format!("[{}]", vec![one; batch].join(",")),
        };
        let text = format!(
            "POST /v1/notifications HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let places = text.match_indices("-00000000").map(|(at, _)| at + 1).collect();
        Self { bytes: text.into_bytes(), places, next: 0 }
    }

    fn renew(&mut self) -> &[u8] {
        for place in &self.places {
            let number = format!("{:01$}", self.next, Self::DIGITS);
            self.bytes[*place..*place + Self::DIGITS].copy_from_slice(number.as_bytes());
            self.next += 1;
        }
        &self.bytes
    }
}

/// The seconds of CPU that a process has used.
fn cpu(pid: Option<u32>) -> Option<f64> {
    /// Ticks a second in `/proc`: the same on every architecture that Linux runs on today.
    const TICKS: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid?)).ok()?;
    // The name, in parentheses, may hold anything; what comes after it begins with field 3.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut ticks = rest.split_whitespace().skip(11).map(str::parse::<u32>);
    let (user, system) = (ticks.next()?.ok()?, ticks.next()?.ok()?);
    Some(f64::from(user + system) / TICKS)
}

/// Counts here stay far below the 2^52 that a float holds exactly.
#[expect(clippy::cast_precision_loss)]
fn to_f64(count: u64) -> f64 {
    count as f64
}
