//! Load on a real server: `cargo bench -p doorstep-tests --bench load -- SCENARIO`, with `--help` for all of them.
//!
//! The server is a process of its own, as it is released; this process is its clients, on one thread, so that on a
//! machine with few cores it takes as little as possible from the server. Times therefore depend on the machine;
//! `CPU` is the server's own time, user and system, as Linux counts it.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints")]
#![expect(clippy::future_not_send, reason = "everything runs on one thread")]

mod attacks;
mod compare;
mod figures;
mod messages;
mod process;
mod publisher;
mod scenarios;
mod servers;
mod stream;
mod subscriber;

use std::rc::Rc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tokio::task::LocalSet;

use crate::figures::Figures;
use crate::scenarios::{
    Idle, Sizes, absent, arrivals, churn, cluster, connected, everybody, hostile, idle, mixed,
    steady,
};
use crate::servers::Contestant;

/// Load on a real server.
#[derive(Parser)]
#[command(name = "load")]
struct Cli {
    #[command(subcommand)]
    scenario: Scenario,
    /// The server that is measured.
    #[arg(long, global = true, value_enum, default_value = "doorstep")]
    server: Contestant,
    /// `cargo bench` passes this.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Scenario {
    /// Connections that do nothing: their memory, their CPU time, and how the server takes leave of them.
    Idle {
        /// How many.
        #[arg(long, default_value_t = 10_000)]
        connections: usize,
        /// How many seconds they do nothing.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Messages per second to random ones of them, for ten seconds afterwards. 0 for none.
        #[arg(long, default_value_t = 1_000)]
        rate: u32,
        /// Let the server run on, instead of measuring its stop.
        #[arg(long)]
        no_stop: bool,
    },
    /// A constant rate of messages to connected users.
    Steady {
        /// Connected users.
        #[arg(long, default_value_t = 1_000)]
        users: usize,
        /// Messages per second.
        #[arg(long, default_value_t = 2_000)]
        rate: u32,
        /// How many seconds it lasts.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// An arrival storm: everybody has a message waiting, and connects as fast as possible.
    Storm {
        /// How many.
        #[arg(long, default_value_t = 50_000)]
        users: usize,
        /// How many of them at the same time.
        #[arg(long, default_value_t = 64)]
        at_a_time: usize,
    },
    /// Everybody who is connected gets one message.
    Everybody {
        /// How many.
        #[arg(long, default_value_t = 10_000)]
        users: usize,
    },
    /// Users who acknowledge get a constant rate of messages, while a tenth of them comes and goes.
    Mixed {
        /// Users.
        #[arg(long, default_value_t = 5_000)]
        users: usize,
        /// Messages per second.
        #[arg(long, default_value_t = 2_000)]
        rate: u32,
        /// How many seconds it lasts.
        #[arg(long, default_value_t = 30)]
        seconds: u64,
    },
    /// Publishes for absent users, as fast as the server accepts them.
    Absent {
        /// How many messages.
        #[arg(long, default_value_t = 100_000)]
        messages: usize,
        /// How many in one request.
        #[arg(long, default_value_t = 1)]
        batch: usize,
    },
    /// Publishes to connected users, as fast as the server accepts them.
    Connected {
        /// Connected users.
        #[arg(long, default_value_t = 1_000)]
        users: usize,
        /// How many messages.
        #[arg(long, default_value_t = 60_000)]
        messages: usize,
    },
    /// Connections that are opened and closed again, a thousand at a time: what the server keeps of them.
    Churn {
        /// How many.
        #[arg(long, default_value_t = 100_000)]
        connections: usize,
    },
    /// What healthy clients notice of others that misbehave.
    Hostile {
        /// How many seconds each measurement lasts.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// How often each attack is measured. The figures are medians.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
        rounds: u64,
    },
    /// One node without a cluster, one with it, and three: one table. NATS is started for it, with its streams on disk.
    ///
    /// Measures publish to receipt for users at the publisher's node and at another, the round trip of NATS, what the stream
    /// gets while users are idle or arrive, how many publishes are accepted, their CPU time, what waiting takes, and how soon
    /// a node that joins is ready. It takes some three minutes with these sizes; docs/benchmarks.md explains each row.
    Cluster(Sizes),
    /// Doorstep beside Nchan and Socket.IO: one table.
    Compare {
        /// How often everything is measured. The table has the medians.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Which servers.
        #[arg(long, value_enum, value_delimiter = ',', default_values = ["doorstep", "nchan", "doorstep-one-worker", "socket-io", "doorstep-tls"])]
        servers: Vec<Contestant>,
    },
}

fn main() {
    // `cargo test --benches` should be quick.
    if !std::env::args().any(|arg| ["--bench", "--help"].contains(&&*arg)) {
        return;
    }
    let cli = Cli::parse();
    process::raise_descriptors();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime starts");
    LocalSet::new().block_on(&runtime, run(cli));
}

async fn run(cli: Cli) {
    if let Scenario::Compare { rounds, servers } = &cli.scenario {
        return compare::compare(servers, *rounds).await;
    }
    if let Scenario::Cluster(sizes) = &cli.scenario {
        return cluster(sizes).await;
    }
    let server = Rc::new(cli.server.start().await);
    measure(&server, cli.scenario).await.print();
}

async fn measure(server: &Rc<servers::Running>, scenario: Scenario) -> Figures {
    match scenario {
        Scenario::Idle { connections, seconds, rate, no_stop } => {
            let lasts = Duration::from_secs(seconds);
            let then = Idle { acknowledges: true, lasts, pushes: rate, stop: !no_stop };
            idle(server, connections, then).await
        }
        Scenario::Steady { users, rate, seconds } => {
            steady(server, users, rate, Duration::from_secs(seconds)).await
        }
        Scenario::Storm { users, at_a_time } => arrivals(server, users, at_a_time).await,
        Scenario::Everybody { users } => everybody(server, users).await,
        Scenario::Mixed { users, rate, seconds } => {
            mixed(Rc::clone(server), users, rate, Duration::from_secs(seconds)).await
        }
        Scenario::Absent { messages, batch } => absent(server, messages, batch).await,
        Scenario::Connected { users, messages } => connected(server, users, messages).await,
        Scenario::Churn { connections } => churn(server, connections).await,
        Scenario::Hostile { seconds, rounds } => hostile(server, seconds, rounds).await,
        Scenario::Cluster(_) | Scenario::Compare { .. } => {
            unreachable!("it starts servers of its own")
        }
    }
}
