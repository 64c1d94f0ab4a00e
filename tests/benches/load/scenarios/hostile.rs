use std::time::Duration;

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
        // Until it is at its height.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let p99 = healthy(server, seconds).await;
        drop(attacking);
        figures.add(&format!("{}, p99 us", attack.name()), p99);
        figures.add("  times the value alone", p99 / before);
        let resident = server.processes.resident() / (1024 * 1024);
        figures.add("  server, resident MiB", to_f64(resident));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    figures.add("alone again, p99 us", healthy(server, seconds).await);
    figures
}

async fn healthy(server: &Running, seconds: u64) -> f64 {
    let figures = steady(server, 100, 500, Duration::from_secs(seconds)).await;
    figures.0.iter().find(|figure| figure.name.contains("p99 us")).map_or(0.0, |found| found.value)
}
