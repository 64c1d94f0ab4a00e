//! The delivery policy under every kind of failure: 20,000 seeded schedules of one node, and 20,000 of several.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use doorstep_tests::simulation::{self, Broken, Played};

const SCHEDULES: u64 = 20_000;

#[test]
fn every_promise_holds_in_20_000_schedules() {
    let (accepted, delivered) = play_all(simulation::run, "");
    // A simulation in which little happens would keep every promise too.
    assert!(accepted > SCHEDULES * 20, "only {accepted} were accepted");
    assert!(delivered > accepted / 3, "only {delivered} of {accepted} were delivered");
}

#[test]
fn every_promise_of_a_cluster_holds_in_20_000_schedules() {
    let (accepted, delivered) = play_all(simulation::cluster::run, "--cluster ");
    assert!(accepted > SCHEDULES * 10, "only {accepted} were accepted");
    assert!(delivered > accepted / 4, "only {delivered} of {accepted} were delivered");
}

/// Plays all schedules. Returns how many notifications were accepted, and how many were delivered.
fn play_all(run: fn(u64) -> Result<Played, Broken>, which: &str) -> (u64, u64) {
    let next = AtomicU64::new(0);
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let play = || {
        let (mut accepted, mut delivered) = (0, 0);
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= SCHEDULES {
                return (accepted, delivered);
            }
            match run(seed) {
                Ok(played) => {
                    accepted += played.accepted;
                    delivered += played.delivered;
                }
                Err(broken) => panic!(
                    "{}\nread its story with: cargo run -p doorstep-tests --bin simulation -- {which}--seed {}",
                    broken.what, broken.seed
                ),
            }
        }
    };
    let played: Vec<(u64, u64)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(play)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    (played.iter().map(|p| p.0).sum(), played.iter().map(|p| p.1).sum())
}

#[test]
fn a_seed_plays_the_same_schedule_again() {
    for seed in 0..50 {
        assert_eq!(simulation::run(seed), simulation::run_telling(seed, true));
        let cluster = simulation::cluster::run_telling(seed, true);
        assert_eq!(simulation::cluster::run(seed), cluster);
    }
}
