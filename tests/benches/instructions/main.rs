//! How many instructions and allocations the server needs for each operation:
//! `cargo bench -p doorstep-tests --bench instructions`.
//!
//! Times are noise on a shared machine; instructions are not. The real binary, as it is released, runs under callgrind
//! (valgrind), with one worker thread, and is driven over real sockets. Counters are set to zero after the set-up of
//! an operation and read after it has been carried out many times. Instructions of the kernel are not counted.
//!
//! Compares with the numbers of the last release in `last_release.json`, and fails if one is more than 3 % higher.
//! `-- --save` writes that file.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench that cannot go on ends here")]

mod callgrind;
mod door;
mod operations;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A number may be this much higher than that of the last release.
const TOLERANCE: f64 = 0.03;

/// What one operation takes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Cost {
    instructions: u64,
    allocations: f64,
}

type Costs = BTreeMap<String, Cost>;

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    // `cargo test --benches` should be quick.
    if !args.iter().any(|arg| arg == "--bench") {
        return;
    }
    let costs = operations::measure().await;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions/last_release.json");
    let last = last_release(&file);
    let grown = print(&costs, &last);
    if args.iter().any(|arg| arg == "--save") {
        std::fs::write(&file, serde_json::to_string_pretty(&costs).unwrap() + "\n").unwrap();
        println!("\nsaved to {}", file.display());
    } else if !grown.is_empty() {
        println!(
            "\nmore than {} % above the last release: {}",
            TOLERANCE * 100.0,
            grown.join(", ")
        );
        std::process::exit(1);
    }
}

fn last_release(file: &PathBuf) -> Costs {
    std::fs::read_to_string(file)
        .map_or_else(|_| Costs::new(), |text| serde_json::from_str(&text).unwrap())
}

/// Prints the table. Returns the operations that take too much more than at the last release.
fn print(costs: &Costs, last: &Costs) -> Vec<String> {
    println!(
        "  {:34}{:>14}{:>14}{:>9}{:>13}",
        "", "instructions", "last release", "", "allocations"
    );
    let mut grown = Vec::new();
    for (name, cost) in costs {
        let (mut before, mut change) = ("-".to_owned(), String::new());
        if let Some(last) = last.get(name) {
            let ratio = to_f64(cost.instructions) / to_f64(last.instructions) - 1.0;
            (before, change) = (last.instructions.to_string(), format!("{:+.1} %", ratio * 100.0));
            if ratio > TOLERANCE {
                grown.push(name.clone());
            }
        }
        println!(
            "  {name:34}{:>14}{before:>14}{change:>9}{:>13.1}",
            cost.instructions, cost.allocations
        );
    }
    grown
}

/// The counts here stay far below 2^52, up to which a float is exact.
#[expect(clippy::cast_precision_loss)]
fn to_f64(count: u64) -> f64 {
    count as f64
}
