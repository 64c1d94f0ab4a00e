//! Plays schedules of the simulation: replays one, or plays millions.
//!
//! `cargo run --release -p doorstep-tests --bin simulation -- --seed 42`
//! `cargo run --release -p doorstep-tests --bin simulation -- --schedules 5000000 [--from 0]`
//!
//! With `--cluster`, several nodes share a log.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use doorstep_tests::simulation::{self, Broken};

struct Wanted {
    from: u64,
    count: u64,
    cluster: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(wanted) = parse(&arguments) else {
        eprintln!("usage: simulation [--cluster] --seed N | --schedules N [--from SEED]");
        return ExitCode::from(2);
    };
    match play(&wanted) {
        None => {
            println!("{} schedules from seed {}: every promise held", wanted.count, wanted.from);
            ExitCode::SUCCESS
        }
        Some(Broken { seed, step, what, story }) => {
            for line in story {
                println!("{line}");
            }
            println!("seed {seed}, step {step}: {what}");
            println!(
                "again: cargo run --release -p doorstep-tests --bin simulation -- {}--seed {seed}",
                if wanted.cluster { "--cluster " } else { "" }
            );
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: &[String]) -> Option<Wanted> {
    let numbers = |name: &str| {
        let at = arguments.iter().position(|a| a == name)?;
        arguments.get(at + 1)?.parse::<u64>().ok()
    };
    let cluster = arguments.iter().any(|argument| argument == "--cluster");
    match (numbers("--seed"), numbers("--schedules")) {
        (Some(seed), None) => Some(Wanted { from: seed, count: 1, cluster }),
        (None, Some(count)) => {
            Some(Wanted { from: numbers("--from").unwrap_or(0), count, cluster })
        }
        _ => None,
    }
}

/// Plays on every core. Returns the broken promise with the lowest seed.
fn play(wanted: &Wanted) -> Option<Broken> {
    let next = AtomicU64::new(wanted.from);
    let end = wanted.from + wanted.count;
    let stop = AtomicBool::new(false);
    let begun = Instant::now();
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..workers)
            .map(|_| {
                scope.spawn(|| {
                    while !stop.load(Relaxed) {
                        let seed = next.fetch_add(1, Relaxed);
                        if seed >= end {
                            return None;
                        }
                        let play = if wanted.cluster {
                            simulation::cluster::run_telling
                        } else {
                            simulation::run_telling
                        };
                        if let Err(broken) = play(seed, wanted.count == 1) {
                            stop.store(true, Relaxed);
                            return Some(broken);
                        }
                    }
                    None
                })
            })
            .collect();
        while handles.iter().any(|handle| !handle.is_finished()) {
            std::thread::sleep(Duration::from_millis(200));
            let done = next.load(Relaxed).min(end) - wanted.from;
            eprint!("\r{done} of {} schedules, {} s", wanted.count, begun.elapsed().as_secs());
        }
        eprintln!();
        let broken = handles.into_iter().filter_map(|h| h.join().expect("a schedule panicked"));
        broken.min_by_key(|broken| broken.seed)
    })
}
