//! The delivery policy under every kind of failure: 20,000 seeded schedules.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use doorstep_tests::simulation;

const SCHEDULES: u64 = 20_000;

#[test]
fn every_promise_holds_in_20_000_schedules() {
    let next = AtomicU64::new(0);
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let play = || {
        let (mut accepted, mut delivered) = (0, 0);
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= SCHEDULES {
                return (accepted, delivered);
            }
            match simulation::run(seed) {
                Ok(played) => {
                    accepted += played.accepted;
                    delivered += played.delivered;
                }
                Err(broken) => panic!(
                    "{}\nread its story with: cargo run -p doorstep-tests --bin simulation -- --seed {}",
                    broken.what, broken.seed
                ),
            }
        }
    };
    let played: Vec<(u64, u64)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(play)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    // A simulation in which little happens would keep every promise too.
    let accepted: u64 = played.iter().map(|p| p.0).sum();
    let delivered: u64 = played.iter().map(|p| p.1).sum();
    assert!(accepted > SCHEDULES * 20, "only {accepted} were accepted");
    assert!(delivered > accepted / 3, "only {delivered} of {accepted} were delivered");
}

#[test]
fn a_seed_plays_the_same_schedule_again() {
    for seed in 0..50 {
        assert_eq!(simulation::run(seed), simulation::run_telling(seed, true));
    }
}
