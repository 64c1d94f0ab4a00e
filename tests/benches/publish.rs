//! The throughput of the publish API: `cargo bench -p doorstep-tests --bench publish`.
//!
//! The real binary as its own process, without simulation and database, and 32 keep-alive connections, each of
//! which sends its next request after the response to the last. Notifications with 200 bytes of payload for absent
//! users wait for 5 s and expire, so the cost of their end is included. Requests are prepared bytes: on a machine
//! with few cores an HTTP client would take CPU time from the server.
//!
//! `CPU` is the server's own time, user and system, per notification (Linux only).
//!
//! The log line of each outcome has level `info`, and standard error is a pipe that another process has to read. A
//! node with many notifications should run with `DOORSTEP_LOG=warn`, as this one does.

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
    // `cargo test --benches` should be quick.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    println!(
        "{CONNECTIONS} connections, {PAYLOAD_BYTES} bytes of payload, {} s per row\n",
        LASTS.as_secs()
    );
    println!(
        "  per request   requests/s   notifications/s   p50 ms   p99 ms   CPU us per notification"
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
        "  {batch:11}   {:10.0}   {:15.0}   {:6.2}   {:6.2}   {cpu:>23}",
        requests / took,
        notifications / took,
        to_f64(times.value_at_quantile(0.5)) / 1e3,
        to_f64(times.value_at_quantile(0.99)) / 1e3,
    );
}

/// Sends the same request until the time is up. Returns how long each took, in microseconds.
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

/// Reads one response, which must be a 202 with nothing rejected.
async fn receive(stream: &mut TcpStream, buffer: &mut Vec<u8>) {
    buffer.clear();
    loop {
        assert_ne!(stream.read_buf(buffer).await.unwrap(), 0, "the server closed the connection");
        let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&buffer[..end]).unwrap();
        assert!(head.starts_with("HTTP/1.1 202"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let all = end + 4 + length.unwrap().parse::<usize>().unwrap();
        while buffer.len() < all {
            assert_ne!(
                stream.read_buf(buffer).await.unwrap(),
                0,
                "the server closed the connection"
            );
        }
        let rejected = b"rejected";
        assert!(!buffer.windows(rejected.len()).any(|w| w == rejected), "the node is full");
        return;
    }
}

/// A request that is sent repeatedly, each time for other users: a full mailbox would change what is measured.
struct Request {
    bytes: Vec<u8>,
    /// The positions of the users' numbers in the bytes, and the next number.
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

/// The CPU seconds that a process has used.
fn cpu(pid: Option<u32>) -> Option<f64> {
    /// Ticks per second in `/proc`: the same on every architecture of Linux.
    const TICKS: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid?)).ok()?;
    // The name, in parentheses, may contain any character; field 3 follows it.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut ticks = rest.split_whitespace().skip(11).map(str::parse::<u32>);
    let (user, system) = (ticks.next()?.ok()?, ticks.next()?.ok()?);
    Some(f64::from(user + system) / TICKS)
}

/// The counts here stay far below 2^52, up to which a float is exact.
#[expect(clippy::cast_precision_loss)]
fn to_f64(count: u64) -> f64 {
    count as f64
}
