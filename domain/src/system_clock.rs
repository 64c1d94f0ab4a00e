use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::Timestamp;
use crate::ports::Clock;

/// The machine's two clocks. The timeline is the monotonic clock, started at the wall clock's time; the time of
/// day is the wall clock.
///
/// Only with the feature `std-clock`.
#[derive(Debug)]
pub struct SystemClock {
    wall_at_start: Timestamp,
    started: Instant,
    steps: Steps,
}

impl SystemClock {
    /// Starts the timeline at the current time of day.
    #[expect(clippy::disallowed_methods, reason = "this is where the machine's clock is read")]
    pub fn start() -> Self {
        Self { wall_at_start: read_wall(), started: Instant::now(), steps: Steps::default() }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is where the machine's clock is read")]
fn read_wall() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(0) + since_epoch
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.wall_at_start + self.started.elapsed()
    }

    fn wall_of(&self, moment: Timestamp) -> Timestamp {
        let ahead = self.steps.ahead(read_wall(), self.now());
        Timestamp::from_micros(moment.as_micros().saturating_add(ahead))
    }

    fn moment_of(&self, wall: Timestamp) -> Timestamp {
        let ahead = self.steps.ahead(read_wall(), self.now());
        Timestamp::from_micros(wall.as_micros().saturating_sub(ahead))
    }
}

/// Steps of the wall clock: a correction, or a virtual machine that was suspended. NTP slews both clocks alike, so
/// only steps make them differ.
#[derive(Debug, Default)]
struct Steps {
    /// How far the wall clock is ahead of the timeline, in microseconds.
    ahead: AtomicI64,
}

impl Steps {
    /// Smaller differences are not steps: reading two clocks takes time. Therefore converted times are stable to
    /// the microsecond between two steps.
    const LEAST_MICROS: u64 = 50_000;

    /// Returns how far the wall clock is ahead, in microseconds, according to these two readings.
    fn ahead(&self, wall: Timestamp, timeline: Timestamp) -> i64 {
        let (ahead, before) = (wall.as_micros() - timeline.as_micros(), self.ahead.load(Relaxed));
        if ahead.abs_diff(before) < Self::LEAST_MICROS {
            return before;
        }
        // A process that was paused between the two readings looks like a step too. The next readings correct
        // that.
        self.ahead.store(ahead, Relaxed);
        ahead
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
    fn steps_are_followed_and_jitter_is_not() {
        const HOUR: i64 = 3_600_000_000;
        let steps = Steps::default();
        let ahead = |wall, timeline| {
            steps.ahead(Timestamp::from_micros(wall), Timestamp::from_micros(timeline))
        };
        assert_eq!(ahead(5 * HOUR, 5 * HOUR), 0);
        assert_eq!(ahead(5 * HOUR + 300, 5 * HOUR), 0, "the two readings are never quite together");
        assert_eq!(ahead(3 * HOUR, 5 * HOUR), -2 * HOUR, "corrected backwards");
        assert_eq!(ahead(3 * HOUR - 200, 5 * HOUR), -2 * HOUR);
        assert_eq!(ahead(8 * HOUR, 5 * HOUR), 3 * HOUR, "suspended, and woken up");
        assert_eq!(ahead(6 * HOUR, 6 * HOUR), 0, "and put right again");
    }

    #[test]
    fn a_moment_keeps_its_time_of_day() {
        let clock = SystemClock::start();
        let moment = clock.now();
        assert_eq!(clock.wall_of(moment), moment);
        clock.steps.ahead.store(7_200_000_000, Relaxed);
        // The readings below correct it, for both directions alike.
        assert_eq!(clock.moment_of(clock.wall_of(moment)), moment);
    }
}
