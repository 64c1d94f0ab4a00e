//! Figures that adapters keep of themselves, and that `metrics` prints.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The upper bounds of the buckets of [`Latencies`], in nanoseconds: from a push within the process to the longest
/// usual waits.
pub const BOUNDS_NANOS: [u64; 21] = [
    10_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
    600_000_000_000,
];

/// How many buckets there are, with the one for everything that is longer.
const BUCKETS: usize = BOUNDS_NANOS.len() + 1;

/// How long something took, counted by length. Counting takes two additions and no lock.
#[derive(Debug, Default)]
pub struct Latencies {
    buckets: [AtomicU64; BUCKETS],
    nanos: AtomicU64,
}

/// What [`Latencies`] have counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LatencyCounts {
    /// How many were at most as long as the bound at the same place, and longer than the bound before it; the last
    /// one: longer than all bounds.
    pub buckets: [u64; BUCKETS],
    /// All of them together.
    pub sum: Duration,
}

impl Latencies {
    /// Counts one that took this long.
    pub fn count(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_NANOS.partition_point(|bound| *bound < nanos);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.nanos.fetch_add(nanos, Relaxed);
    }

    /// What has been counted so far.
    pub fn counts(&self) -> LatencyCounts {
        LatencyCounts {
            buckets: std::array::from_fn(|bucket| self.buckets[bucket].load(Relaxed)),
            sum: Duration::from_nanos(self.nanos.load(Relaxed)),
        }
    }
}

/// The figures of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreFigures {
    /// Each kind of operation: its name, how long those took that were done, and how many were not done because the
    /// store did not answer or could not write.
    pub operations: Vec<(&'static str, LatencyCounts, u64)>,
    /// Each pool of connections.
    pub pools: Vec<PoolFigures>,
}

/// The figures of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogFigures {
    /// How long appends took that were answered.
    pub appends: LatencyCounts,
    /// Entries that were still to be read when the last one was read.
    pub lag: u64,
}

/// The connections of one pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolFigures {
    /// What they are for.
    pub name: &'static str,
    /// Open and unused.
    pub idle: u32,
    /// In use.
    pub in_use: u32,
    /// The most that there may be.
    pub limit: u32,
}

/// The figures of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebhookFigures {
    /// Outcomes that the receiver has not taken yet.
    pub waiting: usize,
    /// How long ago the oldest of them happened; zero if none waits.
    pub oldest: Duration,
    /// Outcomes that were lost.
    pub lost: u64,
    /// Requests that the receiver took.
    pub accepted: u64,
    /// Requests that failed, repeats included.
    pub failed: u64,
    /// How long the requests took.
    pub requests: LatencyCounts,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_length_is_in_the_bucket_of_the_next_bound() {
        let latencies = Latencies::default();
        for (nanos, bucket) in
            [(0, 0), (10_000, 0), (10_001, 1), (60_000_000_000, 19), (600_000_000_001, 21)]
        {
            let before = latencies.counts().buckets[bucket];
            latencies.count(Duration::from_nanos(nanos));
            assert_eq!(latencies.counts().buckets[bucket], before + 1, "{nanos}");
        }
        assert_eq!(latencies.counts().sum, Duration::from_nanos(660_000_020_002));
        assert!(BOUNDS_NANOS.is_sorted());
    }
}
