use std::time::{Duration, Instant};

use super::{open, tickets};
use crate::figures::{Figures, per, to_f64};
use crate::servers::Running;

/// How many are open at the same time.
const AT_ONCE: usize = 1_000;
/// The first rounds also pay for what stays: stacks, tables and the allocator's own memory.
const FIRST_ROUNDS: usize = 5;

/// Opens and closes this many connections, and looks at what the server has kept.
pub(crate) async fn churn(server: &Running, connections: usize) -> Figures {
    round_after_round(server, FIRST_ROUNDS).await;
    let (before, cpu, begun) =
        (server.processes.resident(), server.processes.cpu(), Instant::now());
    let rounds = connections.div_ceil(AT_ONCE);
    round_after_round(server, rounds).await;
    let (took, cpu) = (begun.elapsed(), server.processes.cpu_since(cpu));
    let after = server.processes.resident();
    let mut figures = Figures::default();
    let all = rounds * AT_ONCE;
    figures.add("connections opened and closed", to_f64(u64::try_from(all).unwrap_or(u64::MAX)));
    figures.add("of them per second", 1.0 / per(took.as_secs_f64(), all));
    figures.add("server CPU of one, us", per(cpu, all));
    figures.add("resident before, MiB", to_f64(before) / 1024.0 / 1024.0);
    figures.add("resident after, MiB", to_f64(after) / 1024.0 / 1024.0);
    figures
}

async fn round_after_round(server: &Running, rounds: usize) {
    for round in 1..=rounds {
        drop(open(server, tickets(server, AT_ONCE, true)).await);
        // The server notices an end when it reads.
        tokio::time::sleep(Duration::from_millis(200)).await;
        if round % 10 == 0 {
            eprintln!("  {round} of {rounds} rounds of {AT_ONCE}");
        }
    }
}
