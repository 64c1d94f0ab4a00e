//! What several nodes cost: one node alone, one with a log, and three with it, in the same run.

mod measures;
mod setup;

use std::time::Duration;

use hdrhistogram::Histogram;

use self::measures::{Filled, Rate, Steady, fill, quiet, steady};
use self::setup::Setup;
use crate::figures::{per, round, to_f64};

/// How long connections do nothing.
const IDLE: Duration = Duration::from_secs(10);
/// How many are in a request.
const BATCH: usize = 100;
/// Users for whom single ones are published, and then batches. Nobody connects as one of them.
const SINGLES_FOR: usize = 1_000_000;
const BATCHES_FOR: usize = 2_000_000;

/// How much of everything.
#[derive(Debug, clap::Args)]
pub(crate) struct Sizes {
    /// Notifications per second to connected users.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// How many seconds that lasts, for users at the publisher's node, and again for users at another.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Users who are connected then.
    #[arg(long, default_value_t = 200)]
    users: usize,
    /// Connections that do nothing for 10 s.
    #[arg(long, default_value_t = 1_000)]
    connections: usize,
    /// Users who arrive afterwards.
    #[arg(long, default_value_t = 1_000)]
    arrivals: usize,
    /// Notifications that are published one by one.
    #[arg(long, default_value_t = 20_000)]
    publishes: usize,
    /// Notifications that are published in batches of 100, and then wait.
    #[arg(long, default_value_t = 100_000, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    waiting: usize,
}

/// The rows of one column, in the order in which they were measured.
struct Column {
    name: &'static str,
    rows: Vec<(String, String)>,
}

impl Column {
    fn add(&mut self, name: &str, value: f64) {
        self.rows.push((name.to_owned(), round(value)));
    }

    fn count(&mut self, name: &str, value: u64) {
        self.rows.push((name.to_owned(), value.to_string()));
    }

    fn times(&mut self, name: &str, times: &Histogram<u64>) {
        for (label, quantile) in [("p50", 0.5), ("p99", 0.99)] {
            self.count(&format!("{name}, {label} us"), times.value_at_quantile(quantile));
        }
    }

    /// Which node has which part; of several that have the same, only one is named.
    fn steady(&mut self, users: &str, found: &Steady, parts: &[(usize, &str)]) {
        self.times(&format!("{users}: publish to receipt"), &found.receipt);
        for (node, part) in parts {
            if let Some(cost) = found.costs.nodes.get(*node) {
                self.add(&format!("{users}: CPU of {part}, us"), *cost);
            }
        }
        if let Some(cost) = found.costs.nats {
            self.add(&format!("{users}: CPU of NATS, us"), cost);
            self.add(&format!("{users}: append to the log, mean us"), found.append);
            self.add(&format!("{users}: entries for each notification"), found.entries);
        }
    }

    fn fill(&mut self, how: &str, found: &Filled) {
        self.add(&format!("{how}: accepted/s"), found.per_second);
        self.add(&format!("{how}: CPU of all nodes, us"), found.costs.of_all_nodes());
        if let Some(cost) = found.costs.nats {
            self.add(&format!("{how}: CPU of NATS, us"), cost);
        }
    }
}

/// Measures all three, and prints the table.
pub(crate) async fn cluster(sizes: &Sizes) {
    let mut columns = Vec::new();
    // The last has all rows.
    for (name, nodes, is_cluster) in [
        ("one node", 1, false),
        ("one node with NATS", 1, true),
        ("three nodes with NATS", 3, true),
    ] {
        eprintln!("{name}");
        let setup = Setup::start(nodes, is_cluster).await;
        let mut column = Column { name, rows: Vec::new() };
        measure(&setup, sizes, &mut column).await;
        setup.end().await;
        columns.push(column);
    }
    print(&columns);
}

async fn measure(setup: &Setup, sizes: &Sizes, column: &mut Column) {
    let rate = Rate {
        users: sizes.users,
        per_second: sizes.rate,
        lasts: Duration::from_secs(sizes.seconds),
    };
    eprintln!("  {} notifications/s to connected users", sizes.rate);
    // What is allocated or connected once does not count.
    steady(setup, 0, 0, Rate { lasts: Duration::from_secs(1), ..rate }).await;
    if let Some(log) = &setup.log {
        column.times("PING to PONG of NATS", &log.round_trips().await);
    }
    let same = steady(setup, 0, 0, rate).await;
    column.steady(
        "user at the publisher's node",
        &same,
        &[(0, "this node"), (1, "each other node")],
    );
    if setup.nodes.len() > 2 {
        eprintln!("  the same to users at another node");
        let other = steady(setup, 0, 1, rate).await;
        let roles = [(1, "the publisher's node"), (0, "the user's node"), (2, "each other node")];
        column.steady("user at another node", &other, &roles);
    }
    if setup.log.is_some() {
        let Sizes { connections, arrivals, .. } = *sizes;
        let quiet = quiet(setup, connections, IDLE, arrivals).await;
        let idle = format!("entries during {} s of {connections} idle connections", IDLE.as_secs());
        column.count(&idle, quiet.idle);
        column.count(&format!("entries during {arrivals} arrivals"), quiet.arrivals);
    }
    waiting(setup, sizes, column).await;
}

/// Publishes for absent users, and measures what waits for them.
async fn waiting(setup: &Setup, sizes: &Sizes, column: &mut Column) {
    let Sizes { publishes, waiting, .. } = *sizes;
    eprintln!("  {publishes} notifications, one by one");
    let singles = fill(setup, SINGLES_FOR, publishes, 1, 0).await;
    column.fill("one by one", &singles);
    eprintln!("  {waiting} notifications in batches of {BATCH}");
    let before = setup.held().await;
    let batches = fill(setup, BATCHES_FOR, waiting, BATCH, publishes).await;
    column.fill(&format!("in batches of {BATCH}"), &batches);
    let held = setup.held().await.since(&before);
    let each = |bytes: u64| per(to_f64(bytes), waiting);
    column.add("waiting: resident bytes at each node", each(held.node));
    let Some(log) = held.log else { return };
    column.add("waiting: resident bytes of NATS", each(log.resident));
    column.add("waiting: bytes in the stream's files", each(log.stored));
    eprintln!("  a node joins");
    let (node, took) = setup.join().await;
    let all = publishes + waiting;
    column.add(&format!("a node joins, {all} wait: ready after, s"), took.as_secs_f64());
    column.add(
        "a node joins: resident bytes of it for each",
        per(to_f64(node.processes.resident()), all),
    );
    node.kill().await;
}

/// Prints the columns as a table. The last one has all rows.
fn print(columns: &[Column]) {
    print!("| |");
    for column in columns {
        print!(" {} |", column.name);
    }
    println!("\n| --- |{}", " --- |".repeat(columns.len()));
    for (name, _) in columns.last().map(|column| &*column.rows).unwrap_or_default() {
        print!("| {name} |");
        for column in columns {
            let cell = column.rows.iter().find(|(found, _)| found == name);
            print!(" {} |", cell.map_or("-", |(_, value)| value));
        }
        println!();
    }
}
