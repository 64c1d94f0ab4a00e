//! A long run of the whole service: `cargo bench -p doorstep-tests --bench soak`, with `--help` for its options.
//!
//! Users of `doorstep simulate` trade and come and go, while the server is stopped and started again from time to time.
//! Fails if a popup is lost, if the books are wrong, or if the server's memory grows after it has warmed up.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints")]
#![allow(clippy::cast_precision_loss, reason = "mebibytes are few")]

use std::time::{Duration, Instant};

use clap::Parser;
use doorstep_tests::server::{Doorstep, Process, Server};

/// Until then, what is bounded fills: the caches of the store, open positions, and what the page for demonstrations
/// shows of each user, which takes longest (a hundred steps, one in two seconds).
const WARM_UP: Duration = Duration::from_mins(3);
/// The server may take this part more at the end of its last life than after the warm-up: what an allocator keeps
/// varies by some.
const GROWTH: f64 = 0.1;
/// The last life takes this part of the time: long enough to see whether memory is flat.
const LAST_LIFE: f64 = 0.6;

/// How long the simulated users may take to come to an end, after the time that they have: popups may wait for a
/// minute, and then the books are audited.
const PATIENCE: Duration = Duration::from_mins(5);

/// A long run of the whole service, with restarts.
#[derive(Parser)]
#[command(name = "soak")]
struct Options {
    /// How many minutes it lasts.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// How many simulated users.
    #[arg(long, default_value_t = 500)]
    users: u32,
    /// How often the server is started. Between two starts it is stopped as an operator stops it.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    lives: u32,
    /// `cargo bench` passes this.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    fn lasts(&self) -> Duration {
        Duration::from_secs_f64(self.minutes * 60.0)
    }

    /// How long this life is watched.
    fn life(&self, number: u32) -> Duration {
        let lasts = self.lasts();
        let last = if self.lives == 1 { lasts } else { lasts.mul_f64(LAST_LIFE) };
        if number == self.lives { last } else { lasts.saturating_sub(last) / (self.lives - 1) }
    }
}

#[tokio::main]
async fn main() {
    // `cargo test --benches` should be quick.
    if !std::env::args().any(|arg| ["--bench", "--help"].contains(&&*arg)) {
        return;
    }
    let options = Options::parse();
    let dir = tempfile::tempdir().expect("a temporary folder");
    let database = format!("sqlite://{}/soak.db", dir.path().display());
    let server = serve("127.0.0.1:0", &database).await;
    let address = server.address().to_string();
    let simulation = simulate(&options, &address, &database).await;
    let simulated = async {
        let ended = simulation.wait_within(options.lasts() + PATIENCE).await;
        // At once, not after the last life.
        assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
        ended.stdout
    };
    // The last server lives until the users have counted up.
    let living = live(&options, server, &address, &database);
    let ((grown, _server), report) = tokio::join!(living, simulated);
    println!("{report}");
    assert!(!grown, "memory grew in the last life");
}

/// Lets the server live so many times. Returns whether its memory grew in the last life, and the last server.
async fn live(
    options: &Options,
    mut server: Server,
    address: &str,
    database: &str,
) -> (bool, Server) {
    let mut grown = false;
    // Then all users read all their books, to count up.
    let ends = Instant::now() + options.lasts().saturating_sub(Duration::from_secs(10));
    for number in 1..=options.lives {
        let (begun, cpu) = (Instant::now(), cpu(&server));
        let life = options.life(number).min(ends.saturating_duration_since(begun));
        let used = memory(&server, life).await;
        let busy = (self::cpu(&server) - cpu) / begun.elapsed().as_secs_f64();
        println!(
            "life {number}: {:.0} s, {:.0} % of a core, {} MiB after the warm-up, {} MiB at the end",
            begun.elapsed().as_secs_f64(),
            busy * 100.0,
            used.warm,
            used.last
        );
        grown = used.last as f64 > used.warm as f64 * (1.0 + GROWTH);
        if number < options.lives {
            server.terminate();
            let ended = server.wait().await;
            assert_eq!(ended.code, Some(0), "the server does not stop: {}", ended.stderr);
            server = serve(address, database).await;
        }
    }
    (grown, server)
}

async fn serve(address: &str, database: &str) -> Server {
    Doorstep::new(&["serve", "--listen", address])
        .env("DATABASE_URL", database)
        .env("DOORSTEP_LOG", "warn")
        // All users have one address.
        .env("DOORSTEP_LIMITS__REGISTRATIONS_PER_SECOND", "0")
        .env("DOORSTEP_LIMITS__HTTP_CONNECTIONS_PER_ADDRESS", "10000")
        .env("DOORSTEP_LIMITS__CONNECTIONS_PER_ADDRESS", "10000")
        .start()
        .await
}

async fn simulate(options: &Options, address: &str, database: &str) -> Process {
    let (users, minutes) = (options.users.to_string(), options.minutes.to_string());
    let url = format!("http://{address}");
    let args = ["simulate", "--restarts", "--users", &users, "--minutes", &minutes, "--url", &url];
    Doorstep::new(&args).env("DATABASE_URL", database).spawn().await
}

/// Resident memory in MiB.
struct Used {
    warm: u64,
    last: u64,
}

/// Lets the server run for so long, and says once in ten seconds what it takes.
async fn memory(server: &Server, life: Duration) -> Used {
    let begun = Instant::now();
    let mut used = Used { warm: server.resident(), last: 0 };
    while begun.elapsed() < life {
        let left = life.saturating_sub(begun.elapsed());
        tokio::time::sleep(left.min(Duration::from_secs(10))).await;
        used.last = server.resident();
        if begun.elapsed() <= WARM_UP {
            used.warm = used.warm.max(used.last);
        }
        eprintln!("  {:4.0} s: {} MiB", begun.elapsed().as_secs_f64(), used.last);
    }
    used
}

/// The server's CPU time so far, in seconds.
fn cpu(server: &Server) -> f64 {
    let pid = server.pid().expect("it runs");
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The second field is the name, in parentheses. Linux counts hundredths of a second.
    let (_, fields) = stat.rsplit_once(')').unwrap_or_default();
    let ticks = fields.split_ascii_whitespace().skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}
