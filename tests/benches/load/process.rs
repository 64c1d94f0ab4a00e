//! What processes take, as Linux tells it, and how many descriptors they may have.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// A server's process and those that it has started.
#[derive(Debug, Clone)]
pub(crate) struct Processes {
    first: u32,
}

impl Processes {
    pub(crate) fn of(first: u32) -> Self {
        Self { first }
    }

    fn all(&self) -> Vec<u32> {
        let children = format!("/proc/{0}/task/{0}/children", self.first);
        let children = fs::read_to_string(children).unwrap_or_default();
        let children = children.split_ascii_whitespace().filter_map(|id| id.parse().ok());
        std::iter::once(self.first).chain(children).collect()
    }

    /// Their CPU time so far, user and system.
    pub(crate) fn cpu(&self) -> Duration {
        let stats = self.all().into_iter().map(|process| format!("/proc/{process}/stat"));
        stats.map(|stat| cpu(Path::new(&stat))).sum()
    }

    /// Their CPU time since it was this, in microseconds.
    pub(crate) fn cpu_since(&self, before: Duration) -> f64 {
        self.cpu().saturating_sub(before).as_secs_f64() * 1e6
    }

    /// Their resident bytes. What they share is counted once.
    pub(crate) fn resident(&self) -> u64 {
        self.all().into_iter().map(resident).sum()
    }
}

/// Where Linux counts the time of the thread that calls this.
pub(crate) fn this_thread() -> PathBuf {
    let thread = fs::read_link("/proc/thread-self").expect("Linux");
    Path::new("/proc").join(thread).join("stat")
}

/// The CPU time so far of a process or a thread, user and system.
pub(crate) fn cpu(stat: &Path) -> Duration {
    let stat = fs::read_to_string(stat).unwrap_or_default();
    // The second field is the name, in parentheses.
    let (_, fields) = stat.rsplit_once(')').unwrap_or_default();
    let ticks = fields.split_ascii_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    // Linux has 100 of them in a second, on every machine that we know.
    Duration::from_millis(ticks * 10)
}

fn resident(process: u32) -> u64 {
    let map = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
    let line = map.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default() * 1024
}

/// Raises the limit of this process, which the servers inherit.
pub(crate) fn raise_descriptors() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Root may raise both, unless the machine forbids it.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, 1_048_576, 1_048_576)
            .or_else(|_| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    }
}

/// How many descriptors this process and each server may have.
pub(crate) fn descriptors() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(now, _)| now)
}
