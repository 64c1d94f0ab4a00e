//! How the two strategies scale: `cargo bench -p doorstep-tests --bench scale`.
//!
//! Every row runs in its own process, so its memory and CPU time can be measured separately. A row:
//!
//! 1. accepts this many notifications of 200 bytes, each for another absent user, from two tasks at once;
//! 2. lets them wait for 20 s without arrivals, and reads the process's CPU time;
//! 3. lets 10,000 of the users arrive, at most a quarter of them (for `poll` 2,000, spread over two seconds), and
//!    measures the time from the arrival to the call of the pusher, which is in the same process and does nothing;
//!    then, for `wake`, 500 more, each after other work has filled the caches;
//! 4. moves the clock to just before the common deadline and measures the time from the deadline until the last of
//!    them has expired.
//!
//! Rows: 10 thousand, 100 thousand and 1 million for both; 10 million for `wake` (5 GB of memory).
//! Printed on a shared virtual machine with 2 cores:
//!
//! | strategy | waiting | accepted/s | bytes each | CPU idle | push p50 | p99 | cold p50 | p99 | expire all, each |
//! | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
//! | poll | 10,000 | 0.42 M | 1026 | 3.0 % | 262 ms | 497 ms | | | 196 ms, 24.6 us |
//! | wake | 10,000 | 0.95 M | 329 | 0.001 % | 0.8 us | 1.7 us | 2.5 us | 4.1 us | 6 ms, 0.98 us |
//! | poll | 100,000 | 0.45 M | 966 | 34.7 % | 251 ms | 497 ms | | | 254 ms, 2.60 us |
//! | wake | 100,000 | 1.37 M | 203 | 0.001 % | 1.0 us | 2.0 us | 3.1 us | 5.1 us | 64 ms, 0.71 us |
//! | poll | 1,000,000 | 0.35 M | 1007 | 181 % | 1331 ms | 3294 ms | | | 3352 ms, 3.36 us |
//! | wake | 1,000,000 | 2.11 M | 188 | 0.001 % | 1.5 us | 2.3 us | 3.6 us | 6.0 us | 677 ms, 0.68 us |
//! | wake | 10,000,000 | 1.31 M | 185 | 0.001 % | 2.0 us | 3.1 us | 4.1 us | 6.2 us | 7753 ms, 0.78 us |
//!
//! Findings: below a million notifications the fixed cost of 64 shards shows in the bytes per notification. A push
//! takes 0.8 us with ten thousand and 2.0 us with ten million, for the same work: the former stay in the caches.
//! From cold caches it is 2.5 and 4.1 us. Expiring a million at once kept one core busy for 0.9 s; two cores need
//! 0.7 s. Freeing the payload is a good part of an expiry: another allocator (mimalloc) halved the time for a
//! million and took 35 bytes more per notification, so we kept the system's.
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
        "\n* resident, above the 200 bytes of payload. CPU of one core, over {idle} s without arrivals."
    );
    println!(
        "  push: from the arrival to the call of an in-process pusher, one arrival straight after the other;\n  \
         cold: when the caches were emptied before. expire: after the common deadline, all and each."
    );
}

/// The total time, and the time per notification.
fn expiry(row: &Figures) -> String {
    format!("{:.0} ms, {:.2} us", row.expire_all_ms, row.expire_each_us)
}

fn micros(us: f64) -> String {
    if us < 1000.0 { format!("{us:.1} us") } else { format!("{:.1} ms", us / 1000.0) }
}
