//! The counters of a server that runs under callgrind.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{Cost, to_f64};

/// What callgrind writes its counters to, in the server's working folder.
const FILE: &str = "callgrind.out";
const ALLOCATES: [&str; 4] = ["malloc", "calloc", "realloc", "aligned_alloc"];

/// The program that counts, and its arguments.
pub(super) const COUNTER: [&str; 4] =
    ["valgrind", "--quiet", "--tool=callgrind", "--callgrind-out-file=callgrind.out"];

pub(super) struct Callgrind {
    pid: u32,
    dir: PathBuf,
    dumps: u32,
}

impl Callgrind {
    pub(super) fn of(pid: u32, dir: &Path) -> Self {
        Self { pid, dir: dir.to_owned(), dumps: 0 }
    }

    /// Counts from here on.
    pub(super) fn zero(&self) {
        self.control("zero");
    }

    /// What one operation took, if so many were carried out since [`zero`](Self::zero).
    pub(super) fn per_operation(&mut self, count: u32) -> Cost {
        self.control("dump");
        self.dumps += 1;
        let dump = self.dir.join(format!("{FILE}.{}", self.dumps));
        let (instructions, allocations) = read(&std::fs::read_to_string(dump).unwrap());
        Cost {
            instructions: instructions / u64::from(count),
            allocations: to_f64(allocations * 10 / u64::from(count)) / 10.0,
        }
    }

    /// Stops the server's process until [`go_on`](Self::go_on), and counts from there.
    pub(super) fn pause(&self) {
        self.zero();
        self.signal(Signal::SIGSTOP);
    }

    pub(super) fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid.try_into().unwrap()), signal).unwrap();
    }

    fn control(&self, command: &str) {
        let pid = format!("--pid={}", self.pid);
        let mut vgdb = Command::new("vgdb");
        let said = vgdb.args([pid.as_str(), command]).stdin(Stdio::null()).output();
        let said = said.expect("vgdb comes with valgrind");
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    }
}

/// The instructions, and the calls of functions that allocate. The format is described in the manual of callgrind.
fn read(dump: &str) -> (u64, u64) {
    let (mut instructions, mut allocations) = (0, 0);
    // A name is written once, with a number, and then only the number is repeated.
    let mut allocators = Vec::new();
    let mut calls_allocator = false;
    for line in dump.lines() {
        if let Some(counts) = line.strip_prefix("totals: ") {
            instructions = counts.trim().parse().unwrap();
        } else if let Some(function) = line.strip_prefix("fn=").or(line.strip_prefix("cfn=")) {
            let (number, name) = function.split_once(' ').unwrap_or((function, ""));
            if ALLOCATES.contains(&name) && !allocators.contains(&number) {
                allocators.push(number);
            }
            calls_allocator = line.starts_with('c') && allocators.contains(&number);
        } else if let Some(calls) = line.strip_prefix("calls=")
            && calls_allocator
        {
            allocations += calls.split(' ').next().unwrap().parse::<u64>().unwrap();
        }
    }
    (instructions, allocations)
}
