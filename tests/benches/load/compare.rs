//! Doorstep beside Nchan and Socket.IO, in alternating rounds of the same run, and the median of each number.

use std::collections::HashMap;
use std::time::Duration;

use crate::figures::{Figure, Figures, round};
use crate::scenarios::{Idle, absent, arrivals, connected, idle, steady};
use crate::servers::Contestant;

/// Plays everything this many times with each, and prints the table.
pub(crate) async fn compare(contestants: &[Contestant], rounds: usize) {
    let mut all: HashMap<(Contestant, String), Vec<f64>> = HashMap::new();
    let mut names = Vec::new();
    for number in 1..=rounds {
        for &contestant in contestants {
            eprintln!("round {number} of {rounds}: {}", contestant.name());
            for Figure { name, value } in everything(contestant).await.0 {
                if !names.contains(&name) {
                    names.push(name.clone());
                }
                all.entry((contestant, name)).or_default().push(value);
            }
        }
    }
    print(contestants, &names, &all);
}

async fn everything(contestant: Contestant) -> Figures {
    let mut figures = Figures::default();
    let server = contestant.start().await;
    // What a server allocates once does not count.
    absent(&server, 2_000, 1).await;
    figures.0.extend(absent(&server, 100_000, 1).await.0);
    server.kill().await;
    let server = contestant.start().await;
    connected(&server, 1_000, 10_000).await;
    server.kill().await;
    let server = contestant.start().await;
    figures.0.extend(connected(&server, 1_000, 60_000).await.0);
    server.kill().await;
    let server = contestant.start().await;
    let slow = steady(&server, 1_000, 2_000, Duration::from_secs(5)).await;
    figures.0.extend(slow.0.into_iter().filter(|figure| figure.name.contains("receipt")));
    server.kill().await;
    let server = contestant.start().await;
    figures.0.extend(arrivals(&server, 5_000, 8).await.0);
    server.kill().await;
    let server = contestant.start().await;
    let quiet = Idle { acknowledges: false, lasts: Duration::ZERO, pushes: 0, stop: false };
    figures.0.extend(idle(&server, 5_000, quiet).await.0);
    server.kill().await;
    if contestant.has_batches() {
        let server = contestant.start().await;
        let batches = absent(&server, 1_000_000, 100).await;
        figures.add("in batches of 100, messages/s", batches.0[0].value);
        server.kill().await;
    }
    figures
}

fn print(
    contestants: &[Contestant],
    names: &[String],
    all: &HashMap<(Contestant, String), Vec<f64>>,
) {
    print!("| median (least to most) |");
    for contestant in contestants {
        print!(" {} |", contestant.name());
    }
    println!("\n| --- |{}", " --- |".repeat(contestants.len()));
    for name in names {
        print!("| {name} |");
        for &contestant in contestants {
            match all.get(&(contestant, name.clone())) {
                Some(values) => print!(" {} |", summary(values)),
                None => print!(" - |"),
            }
        }
        println!();
    }
}

fn summary(values: &[f64]) -> String {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let median = values[values.len() / 2];
    format!("{} ({} to {})", round(median), round(values[0]), round(values[values.len() - 1]))
}
