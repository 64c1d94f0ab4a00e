//! What is measured, one function each.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use super::super::steady::at_rate;
use super::super::{PUBLISHERS, Progress, all_received, listen, open, publishers, user};
use super::setup::{Cpu, Setup};
use crate::figures::{per, to_f64};
use crate::messages::{Journeys, payload};
use crate::publisher::Publisher;
use crate::subscriber::Ticket;

/// Microseconds of CPU per notification.
pub(super) struct Costs {
    pub(super) nodes: Vec<f64>,
    pub(super) nats: Option<f64>,
}

impl Costs {
    fn since(before: &Cpu, setup: &Setup, notifications: usize) -> Self {
        let now = setup.cpu();
        let cost = |before: Duration, now: Duration| {
            per(now.saturating_sub(before).as_secs_f64() * 1e6, notifications)
        };
        Self {
            nodes: before.nodes.iter().zip(now.nodes).map(|(then, now)| cost(*then, now)).collect(),
            nats: before.nats.zip(now.nats).map(|(then, now)| cost(then, now)),
        }
    }

    pub(super) fn of_all_nodes(&self) -> f64 {
        self.nodes.iter().sum()
    }
}

/// A constant rate of notifications to connected users.
pub(super) struct Steady {
    pub(super) receipt: Histogram<u64>,
    pub(super) costs: Costs,
    /// Entries of the log per notification.
    pub(super) entries: f64,
    /// How long an append took on average, in microseconds.
    pub(super) append: f64,
}

/// How much of it.
#[derive(Clone, Copy)]
pub(super) struct Rate {
    pub(super) users: usize,
    pub(super) per_second: u32,
    pub(super) lasts: Duration,
}

/// Publishes at one node to users who are connected to another, or to the same, and acknowledge.
pub(super) async fn steady(
    setup: &Setup,
    users_at: usize,
    publish_at: usize,
    rate: Rate,
) -> Steady {
    let journeys = Rc::new(Journeys::new());
    let _listening = connect(setup, &[users_at], 0..rate.users, &journeys).await;
    let publisher = &setup.nodes[publish_at];
    let publishers = publishers(publisher).await;
    let (entries, appends, cpu) = (setup.entries().await, setup.appends().await, setup.cpu());
    at_rate(publisher, publishers, rate.users, rate.per_second, rate.lasts, &journeys).await;
    all_received(&journeys).await;
    // Until then, acknowledgements are on their way.
    setup.settles(0).await;
    let sent = journeys.sent();
    let costs = Costs::since(&cpu, setup, sent);
    let (seconds, count) = setup.appends().await;
    Steady {
        receipt: journeys.times(),
        costs,
        entries: per(to_f64(setup.entries().await - entries), sent),
        append: (seconds - appends.0) * 1e6 / (count - appends.1),
    }
}

/// How many entries the log got meanwhile.
pub(super) struct Quiet {
    pub(super) idle: u64,
    pub(super) arrivals: u64,
}

/// Leaves connections alone that are spread over the nodes, and lets other users arrive.
pub(super) async fn quiet(
    setup: &Setup,
    connections: usize,
    lasts: Duration,
    arriving: usize,
) -> Quiet {
    const FIRST: usize = 100_000;
    let all: Vec<_> = (0..setup.nodes.len()).collect();
    let journeys = Rc::new(Journeys::new());
    let _idle = connect(setup, &all, FIRST..FIRST + connections, &journeys).await;
    let before = setup.entries().await;
    eprintln!("  {connections} connections do nothing for {} s", lasts.as_secs());
    tokio::time::sleep(lasts).await;
    let idle = setup.entries().await;
    eprintln!("  {arriving} users arrive");
    let others = FIRST + connections..FIRST + connections + arriving;
    let _others = connect(setup, &all, others, &journeys).await;
    // What an arrival would have caused has been sent by then.
    tokio::time::sleep(Duration::from_secs(1)).await;
    Quiet { idle: idle - before, arrivals: setup.entries().await - idle }
}

/// Connects these users, in turn to each of these nodes. They acknowledge.
async fn connect(
    setup: &Setup,
    at: &[usize],
    users: std::ops::Range<usize>,
    journeys: &Rc<Journeys>,
) -> Vec<JoinSet<()>> {
    let mut listening = Vec::new();
    for (turn, node) in at.iter().enumerate() {
        let node = &setup.nodes[*node];
        let users = users.clone().skip(turn).step_by(at.len());
        let tickets = users.map(|n| Ticket::new(node, n, &user(n), true)).collect();
        listening.push(listen(open(node, tickets).await, journeys));
    }
    listening
}

/// Publishes for absent users.
pub(super) struct Filled {
    pub(super) per_second: f64,
    pub(super) costs: Costs,
}

/// Publishes for absent users from this one on, as fast as the nodes accept it. The publishers are spread over the nodes;
/// each sends its next request after the response to the last.
pub(super) async fn fill(
    setup: &Setup,
    first_user: usize,
    count: usize,
    batch: usize,
    open_before: usize,
) -> Filled {
    let mut publishers = Vec::new();
    for n in 0..PUBLISHERS {
        let node = &setup.nodes[n % setup.nodes.len()];
        let publisher = Publisher::connect(node, n).await.expect("the node accepts publishers");
        publishers.push((node, publisher));
    }
    let next = Cell::new(0);
    let progress = Progress::new("published", count.div_ceil(batch));
    let (cpu, begun) = (setup.cpu(), Instant::now());
    join_all(publishers.into_iter().map(async |(node, mut publisher)| {
        while next.get() < count {
            let first = next.replace(next.get() + batch);
            let messages = first..(first + batch).min(count);
            let messages: Vec<_> = messages.map(|n| (user(first_user + n), payload(n))).collect();
            publisher.send(&node.publish(&messages)).await.expect("it is accepted");
            progress.step();
        }
    }))
    .await;
    let took = begun.elapsed();
    // The other nodes may still read.
    setup.settles(open_before + count).await;
    Filled {
        per_second: 1.0 / per(took.as_secs_f64(), count),
        costs: Costs::since(&cpu, setup, count),
    }
}
