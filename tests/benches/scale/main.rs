//! How the two strategies scale: `cargo bench -p doorstep-tests --bench scale`.
//!
//! Every row runs in a process of its own, so that its memory and its CPU time are its own. A row:
//!
//! 1. accepts so many notifications of 200 bytes, each for another absent user, from two tasks at once;
//! 2. lets them wait for 20 s in which nobody arrives, and reads the process's CPU time;
//! 3. lets 10,000 of the users arrive (for `poll` 2,000, spread over two seconds) and takes the time from the
//!    arrival to the call of the pusher, which is in the same process and does nothing;
//! 4. puts the clock forward to just before the common deadline and takes the time from the deadline until
//!    the last of them has expired.
//!
//! Rows: 10 thousand, 100 thousand and 1 million for both; 10 million for `wake` (5 GB of memory).
//! Seen on a shared virtual machine with 2 cores, 5 s of waiting a row:
//!
//! | strategy | waiting | accepted/s | bytes each | CPU idle | push p50 | push p99 | expire all |
//! | --- | --- | --- | --- | --- | --- | --- | --- |
//! | poll | 10,000 | 0.90 M | 1008 | 1.8 % | 262 ms | 496 ms | 202 ms |
//! | wake | 10,000 | 1.44 M | 324 | 0.004 % | 0.4 us | 1.0 us | - |
//! | poll | 100,000 | 0.94 M | 951 | 20.6 % | 251 ms | 501 ms | 248 ms |
//! | wake | 100,000 | 2.06 M | 209 | 0.005 % | 1.0 us | 2.0 us | 56 ms |
//! | poll | 1,000,000 | 0.82 M | 991 | 161 % | 923 ms | 2442 ms | 3595 ms |
//! | wake | 1,000,000 | 2.16 M | 188 | 0.004 % | 1.3 us | 2.2 us | 915 ms |
//! | wake | 10,000,000 | 1.86 M | 185 | 0.003 % | 1.7 us | 3.0 us | 8048 ms |
//!
//! What was learnt: below a million the fixed cost of 64 shards shows in the bytes each. The push goes from
//! 0.4 to 1.7 us while the work stays the same: what ten thousand leave in the caches, ten million do not.
//! Giving back the payload's memory is a good part of an expiry: another allocator (mimalloc) halved the time
//! of a million, and cost 35 bytes a notification more, so the system's stayed.
//!
//! `-- --quick` leaves out the 10 million and waits 2 s instead of 20.

mod row;
mod world;

use std::process::{Command, Stdio};

use row::Figures;

const HEADER: [&str; 11] = [
    "strategy",
    "waiting",
    "accepted/s",
    "bytes each*",
    "CPU idle",
    "push p50",
    "push p99",
    "push max",
    "cold p50",
    "cold p99",
    "expire all",
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let [row, strategy, count, idle] = &args[..]
        && row == "row"
    {
        let (count, idle) = (count.parse().expect("a count"), idle.parse().expect("seconds"));
        return row::run(strategy, count, idle);
    }
    let quick = args.iter().any(|arg| arg == "--quick");
    let idle = if quick { 2 } else { 20 };
    let mut rows = Vec::new();
    for (strategy, count) in [
        ("poll", 10_000),
        ("wake", 10_000),
        ("poll", 100_000),
        ("wake", 100_000),
        ("poll", 1_000_000),
        ("wake", 1_000_000),
        ("wake", 10_000_000),
    ] {
        if quick && count > 1_000_000 {
            continue;
        }
        eprintln!("{strategy} with {count} waiting ...");
        rows.push(in_own_process(strategy, count, idle));
    }
    print(&rows, idle);
}

fn in_own_process(strategy: &str, count: usize, idle: u64) -> Figures {
    let me = std::env::current_exe().expect("this program has a path");
    let output = Command::new(me)
        .args(["row", strategy, &count.to_string(), &idle.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .expect("this program can be started");
    assert!(output.status.success(), "the row failed");
    serde_json::from_slice(&output.stdout).expect("a row prints its figures")
}

fn print(rows: &[Figures], idle: u64) {
    let mut lines = vec![HEADER.map(str::to_owned)];
    for row in rows {
        lines.push([
            row.strategy.clone(),
            row.count.to_string(),
            format!("{:.2} M", row.accepted_per_s / 1e6),
            format!("{:.0}", row.bytes_each),
            format!("{:.3} %", row.idle_cpu * 100.0),
            micros(row.push_p50_us),
            micros(row.push_p99_us),
            micros(row.push_max_us),
            row.cold_p50_us.map_or("-".to_owned(), micros),
            row.cold_p99_us.map_or("-".to_owned(), micros),
            expiry(row),
        ]);
    }
    let mut widths = [0; HEADER.len()];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.len());
        }
    }
    println!();
    for line in &lines {
        let cells: Vec<_> =
            line.iter().zip(widths).map(|(cell, width)| format!("{cell:>width$}")).collect();
        println!("{}", cells.join("  "));
    }
    println!(
        "\n* resident, above the 200 bytes of payload. CPU of one core, over {idle} s in which nobody arrives."
    );
    println!(
        "  push: from the arrival to the call of an in-process pusher, one arrival straight after the other;\n  \
         cold: when the caches were emptied before. expire: after the common deadline, all and each."
    );
}

/// All of them, and each.
fn expiry(row: &Figures) -> String {
    format!("{:.0} ms, {:.2} us", row.expire_all_ms, row.expire_each_us)
}

fn micros(us: f64) -> String {
    if us < 1000.0 { format!("{us:.1} us") } else { format!("{:.1} ms", us / 1000.0) }
}
