//! What the machine itself gives: the time of day, and names for new things.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use doorstep_domain::Timestamp;
use doorstep_domain::ports::{Clock, Ids, Readiness, StoreError};
use uuid::Uuid;

/// The wall clock as it was at the start, carried on by the monotonic clock: a step of the machine's time
/// (NTP, an administrator) neither ends nor revives what waits. A process that runs for months may so drift
/// from the wall by the seconds that the clock was slewed.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    wall: Timestamp,
    started: Instant,
}

impl SystemClock {
    /// Looks at the wall clock, for the only time.
    pub fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { wall: Timestamp::from_micros(0) + since_epoch, started: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.wall + self.started.elapsed()
    }
}

/// `UUIDv7`s (RFC 9562), in order within the process: the counter inside them carries on while the clock stands
/// still or goes back.
#[derive(Debug, Clone, Copy, Default)]
pub struct V7Ids;

impl Ids for V7Ids {
    fn next(&self) -> Uuid {
        Uuid::now_v7()
    }
}

/// The readiness of a node that keeps nothing: there is no store that could be away.
#[derive(Debug, Clone, Copy, Default)]
pub struct NothingKept;

#[async_trait::async_trait]
impl Readiness for NothingKept {
    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_goes_back() {
        let clock = SystemClock::start();
        let mut before = clock.now();
        for _ in 0..10_000 {
            let now = clock.now();
            assert!(now >= before);
            before = now;
        }
    }

    #[test]
    fn ids_are_in_order_also_from_several_threads() {
        let ids = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..5_000).map(|_| V7Ids.next()).collect::<Vec<_>>()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        for thread in &ids {
            assert!(thread.is_sorted());
        }
        let mut all: Vec<_> = ids.concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 20_000);
    }
}
