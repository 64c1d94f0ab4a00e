//! Nodes, the server of NATS between them, and what both tell about themselves.

use std::time::{Duration, Instant};

use async_nats::jetstream;
use doorstep_tests::nats::NatsServer;
use doorstep_tests::scrape::Scrape;
use hdrhistogram::Histogram;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::messages::{micros, times};
use crate::process::Processes;
use crate::servers::{Nodes, Running};

/// How long nodes may take to agree.
const PATIENCE: Duration = Duration::from_mins(5);
/// How often that is looked at: each look costs the node some CPU time.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const PINGS: usize = 2_000;

/// Nodes that run, with what is between them.
pub(super) struct Setup {
    pub(super) nodes: Vec<Running>,
    pub(super) log: Option<Log>,
    more: Nodes,
}

impl Setup {
    /// Starts this many nodes, and a server of NATS if they are a cluster. All are ready.
    pub(super) async fn start(count: usize, is_cluster: bool) -> Self {
        let nats = is_cluster.then(NatsServer::start);
        let more = Nodes::new(nats.as_ref().map(NatsServer::url)).await;
        let mut nodes = Vec::new();
        for _ in 0..count {
            let node = more.start().await;
            is_ready(&node).await;
            nodes.push(node);
        }
        let log = match nats {
            Some(nats) => Some(Log::of(nats).await),
            None => None,
        };
        Self { nodes, log, more }
    }

    /// Starts one more node. Returns it, and how long it took until it was ready.
    pub(super) async fn join(&self) -> (Running, Duration) {
        let begun = Instant::now();
        let node = self.more.start().await;
        is_ready(&node).await;
        (node, begun.elapsed())
    }

    /// Waits until each node knows of exactly this many notifications that have not ended.
    ///
    /// # Panics
    /// When that takes too long: something is lost.
    pub(super) async fn settles(&self, open: usize) {
        for node in &self.nodes {
            let begun = Instant::now();
            loop {
                let found = self.open_at(node).await;
                if found.to_string() == open.to_string() {
                    break;
                }
                assert!(begun.elapsed() < PATIENCE, "a node knows of {found} instead of {open}");
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }

    async fn open_at(&self, node: &Running) -> f64 {
        let name = match self.log {
            Some(_) => "doorstep_cluster_open_notifications",
            None => "doorstep_pending_notifications",
        };
        scrape(node).await.sum(name, &[])
    }

    /// How long the nodes' appends took that NATS has answered, in seconds, and how many there were.
    pub(super) async fn appends(&self) -> (f64, f64) {
        let (mut seconds, mut count) = (0.0, 0.0);
        for node in &self.nodes {
            let scrape = scrape(node).await;
            seconds += scrape.sum("doorstep_cluster_append_seconds_sum", &[]);
            count += scrape.sum("doorstep_cluster_append_seconds_count", &[]);
        }
        (seconds, count)
    }

    /// The CPU time so far of each node, and of NATS.
    pub(super) fn cpu(&self) -> Cpu {
        Cpu {
            nodes: self.nodes.iter().map(|node| node.processes.cpu()).collect(),
            nats: self.log.as_ref().map(|log| log.processes.cpu()),
        }
    }

    /// The entries that the log has ever had.
    pub(super) async fn entries(&self) -> u64 {
        match &self.log {
            Some(log) => log.state().await.last_sequence,
            None => 0,
        }
    }

    /// What is held now.
    pub(super) async fn held(&self) -> Held {
        let nodes: u64 = self.nodes.iter().map(|node| node.processes.resident()).sum();
        let log = match &self.log {
            Some(log) => Some(HeldByLog {
                resident: log.processes.resident(),
                stored: log.state().await.bytes,
            }),
            None => None,
        };
        Held { node: nodes / u64::try_from(self.nodes.len()).expect("few nodes"), log }
    }

    /// Ends all of it.
    pub(super) async fn end(self) {
        for node in self.nodes {
            node.kill().await;
        }
    }
}

/// CPU time.
pub(super) struct Cpu {
    pub(super) nodes: Vec<Duration>,
    pub(super) nats: Option<Duration>,
}

/// Bytes.
pub(super) struct Held {
    /// Resident at each node: their mean.
    pub(super) node: u64,
    pub(super) log: Option<HeldByLog>,
}

pub(super) struct HeldByLog {
    pub(super) resident: u64,
    /// In the stream, as the server counts them.
    pub(super) stored: u64,
}

impl Held {
    /// What came since.
    pub(super) fn since(&self, before: &Self) -> Self {
        let log = self.log.as_ref().zip(before.log.as_ref());
        Self {
            node: self.node.saturating_sub(before.node),
            log: log.map(|(now, before)| HeldByLog {
                resident: now.resident.saturating_sub(before.resident),
                stored: now.stored.saturating_sub(before.stored),
            }),
        }
    }
}

async fn scrape(node: &Running) -> Scrape {
    Scrape::of(&format!("http://{}", node.address)).await
}

async fn is_ready(node: &Running) {
    let url = format!("http://{}/health/ready", node.address);
    let begun = Instant::now();
    while !reqwest::get(&url).await.is_ok_and(|answer| answer.status().is_success()) {
        assert!(begun.elapsed() < PATIENCE, "a node does not become ready");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The server of NATS, and the stream in it.
pub(super) struct Log {
    pub(super) processes: Processes,
    server: NatsServer,
    context: jetstream::Context,
}

impl Log {
    async fn of(server: NatsServer) -> Self {
        let client = async_nats::connect(server.url()).await.expect("NATS accepts clients");
        let processes = Processes::of(server.watchdog().expect("it runs"));
        Self { processes, server, context: jetstream::new(client) }
    }

    /// What the server says about the stream.
    pub(super) async fn state(&self) -> jetstream::stream::State {
        let stream = self.context.get_stream("DOORSTEP_doorstep").await.expect("the nodes' stream");
        stream.cached_info().state.clone()
    }

    /// The time from a `PING` to its `PONG`, over a connection of its own, one after the other.
    pub(super) async fn round_trips(&self) -> Histogram<u64> {
        let address = self.server.url().trim_start_matches("nats://").to_owned();
        let stream = TcpStream::connect(address).await.expect("NATS accepts clients");
        stream.set_nodelay(true).expect("a socket takes it");
        let mut stream = BufReader::new(stream);
        stream.write_all(b"CONNECT {\"verbose\":false}\r\n").await.expect("it is sent");
        let mut took = times();
        let mut line = String::new();
        for _ in 0..PINGS {
            let begun = Instant::now();
            stream.write_all(b"PING\r\n").await.expect("it is sent");
            // `INFO` comes first, once.
            while !line.starts_with("PONG") {
                line.clear();
                assert!(stream.read_line(&mut line).await.expect("an answer") > 0, "NATS hung up");
            }
            line.clear();
            took.saturating_record(micros(begun.elapsed()));
        }
        took
    }
}
