use std::time::{Duration, Instant};

use super::steady;
use crate::attacks::Attack;
use crate::figures::{Figures, to_f64};
use crate::servers::Running;

/// What healthy clients notice of others that misbehave: messages at a constant rate to some users, beside each attack
/// and, before each, alone. All of them must come.
pub(crate) async fn hostile(server: &Running, seconds: u64, rounds: u64) -> Figures {
    // The first messages find nothing in the caches.
    healthy(server, seconds).await;
    let mut alone = Vec::new();
    let mut beside = Attack::ALL.map(|attack| (attack, Vec::new()));
    for round in 1..=rounds {
        for (attack, samples) in &mut beside {
            eprintln!("  round {round} of {rounds}: {}", attack.name());
            alone.push(healthy(server, seconds).await);
            samples.push(sample(server, *attack, seconds).await);
            // What the attack has left behind.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    let mut figures = Figures::default();
    let alone = add(&mut figures, "alone", alone);
    for (attack, samples) in beside {
        let p99 = samples.iter().map(|sample| sample.p99).collect();
        let p99 = add(&mut figures, attack.name(), p99);
        figures.add("  times the value alone", p99 / alone);
        let mut add = |name: &str, of: fn(&Sample) -> f64| {
            figures.add(name, median(&mut samples.iter().map(of).collect::<Vec<_>>()));
        };
        add("  server, % of a core", |sample| sample.server);
        add("  attackers, % of a core", |sample| sample.attackers);
        add("  server, resident MiB", |sample| sample.resident);
        if matches!(attack, Attack::Readers | Attack::StoppedReaders) {
            add("  closed because they had stopped, per second", |sample| sample.too_slow);
        }
    }
    figures
}

/// What was seen during an attack.
struct Sample {
    p99: f64,
    /// Of a core, in percent.
    server: f64,
    /// As well.
    attackers: f64,
    /// In MiB.
    resident: f64,
    /// Connections per second that the server has closed because they took nothing.
    too_slow: f64,
}

async fn sample(server: &Running, attack: Attack, seconds: u64) -> Sample {
    let attacking = attack.begin(server);
    tokio::time::sleep(attack.grows_for()).await;
    let (begun, their_cpu, cpu) = (Instant::now(), attacking.cpu(), server.processes.cpu());
    let too_slow = closed_as_too_slow(server).await;
    let p99 = healthy(server, seconds).await;
    let lasted = begun.elapsed().as_secs_f64();
    let percent = |cpu: Duration| 100.0 * cpu.as_secs_f64() / lasted;
    Sample {
        p99,
        server: percent(server.processes.cpu().saturating_sub(cpu)),
        attackers: percent(attacking.cpu().saturating_sub(their_cpu)),
        resident: to_f64(server.processes.resident() / (1024 * 1024)),
        too_slow: (closed_as_too_slow(server).await - too_slow) / lasted,
    }
}

/// Adds the median with the least and the most, and returns it.
fn add(figures: &mut Figures, name: &str, mut p99: Vec<f64>) -> f64 {
    let median = median(&mut p99);
    figures.add(&format!("{name}, p99 us"), median);
    figures.add("  least", p99[0]);
    figures.add("  most", p99[p99.len() - 1]);
    median
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn healthy(server: &Running, seconds: u64) -> f64 {
    let figures = steady(server, 100, 500, Duration::from_secs(seconds)).await;
    figures.0.iter().find(|figure| figure.name.contains("p99 us")).map_or(0.0, |found| found.value)
}

/// How many connections the server has closed so far because they took nothing.
async fn closed_as_too_slow(server: &Running) -> f64 {
    let metrics = reqwest::get(format!("http://{}/metrics", server.address)).await;
    let metrics = metrics.expect("metrics").text().await.expect("metrics");
    let name = "doorstep_connections_ended_total{reason=\"too_slow\"} ";
    let count = metrics.lines().find_map(|line| line.strip_prefix(name));
    count.and_then(|count| count.parse().ok()).unwrap_or(0.0)
}
