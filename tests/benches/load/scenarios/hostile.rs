use std::time::{Duration, Instant};

use super::steady;
use crate::attacks::Attack;
use crate::figures::{Figures, to_f64};
use crate::servers::Running;

/// What healthy clients notice of others that misbehave: messages at a constant rate to some users, first alone, then
/// beside each attack. All of them must come.
pub(crate) async fn hostile(server: &Running, seconds: u64) -> Figures {
    let mut figures = Figures::default();
    // The first messages find nothing in the caches.
    healthy(server, seconds).await;
    let before = healthy(server, seconds).await;
    figures.add("alone, p99 us", before);
    for attack in Attack::ALL {
        eprintln!("  {}", attack.name());
        let attacking = attack.begin(server);
        tokio::time::sleep(attack.grows_for()).await;
        let (begun, its_cpu, cpu) = (Instant::now(), attacking.cpu(), server.processes.cpu());
        let too_slow = closed_as_too_slow(server).await;
        let p99 = healthy(server, seconds).await;
        let lasted = begun.elapsed().as_secs_f64();
        let its_cpu = attacking.cpu().saturating_sub(its_cpu).as_secs_f64();
        let cpu = server.processes.cpu().saturating_sub(cpu).as_secs_f64();
        let too_slow = closed_as_too_slow(server).await - too_slow;
        let resident = server.processes.resident() / (1024 * 1024);
        drop(attacking);
        figures.add(&format!("{}, p99 us", attack.name()), p99);
        figures.add("  times the value alone", p99 / before);
        figures.add("  server, % of a core", 100.0 * cpu / lasted);
        figures.add("  attackers, % of a core", 100.0 * its_cpu / lasted);
        figures.add("  server, resident MiB", to_f64(resident));
        if matches!(attack, Attack::Readers | Attack::StoppedReaders) {
            figures.add("  closed because they had stopped, per second", too_slow / lasted);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    figures.add("alone again, p99 us", healthy(server, seconds).await);
    figures
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
