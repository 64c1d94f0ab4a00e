//! How many instructions and allocations the server needs for each operation:
//! `cargo bench -p doorstep-tests --bench instructions`.
//!
//! Times are noise on a shared machine; instructions are not. The real binary, as it is released, runs under callgrind
//! (valgrind), with one worker thread, and is driven over real sockets. Counters are set to zero after the set-up of
//! an operation and read after it has been carried out many times. Instructions of the kernel are not counted.
//!
//! In addition, how many resident bytes an idle connection takes, of the same binary without callgrind.
//!
//! Compares with the numbers of the last release in `last_release.json`, and fails if one is more than 3 % higher.
//! `-- --save` writes that file.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench that cannot go on ends here")]

mod callgrind;
mod door;
mod idle;
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

/// Everything that is measured.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Measured {
    #[serde(flatten)]
    operations: Costs,
    #[serde(default)]
    idle_connection_bytes: u64,
}

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    // `cargo test --benches` should be quick.
    if !args.iter().any(|arg| arg == "--bench") {
        return;
    }
    let measured = Measured {
        operations: operations::measure().await,
        idle_connection_bytes: idle::bytes().await,
    };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions/last_release.json");
    let last = last_release(&file);
    let grown = print(&measured, &last);
    if args.iter().any(|arg| arg == "--save") {
        std::fs::write(&file, serde_json::to_string_pretty(&measured).unwrap() + "\n").unwrap();
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

fn last_release(file: &PathBuf) -> Measured {
    std::fs::read_to_string(file)
        .map_or_else(|_| Measured::default(), |text| serde_json::from_str(&text).unwrap())
}

/// Prints the table. Returns the operations that take too much more than at the last release.
fn print(now: &Measured, last: &Measured) -> Vec<String> {
    println!(
        "  {:34}{:>14}{:>14}{:>9}{:>13}",
        "", "instructions", "last release", "", "allocations"
    );
    let mut grown = Vec::new();
    for (name, cost) in &now.operations {
        let (mut before, mut change) = ("-".to_owned(), String::new());
        if let Some(last) = last.operations.get(name) {
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
    let (bytes, before) = (now.idle_connection_bytes, last.idle_connection_bytes);
    println!("\n  resident bytes of an idle connection: {bytes}, and {before} at the last release");
    if before > 0 && to_f64(bytes) / to_f64(before) - 1.0 > TOLERANCE {
        grown.push("an idle connection's bytes".to_owned());
    }
    grown
}

/// The counts here stay far below 2^52, up to which a float is exact.
#[expect(clippy::cast_precision_loss)]
fn to_f64(count: u64) -> f64 {
    count as f64
}
