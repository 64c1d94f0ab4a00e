//! The suite of [`Clock`].

use std::sync::Arc;
use std::time::Duration;

use doorstep_domain::Timestamp;
use doorstep_domain::ports::Clock;

use crate::clause::clauses;

clauses! {
    /// The promises of [`Clock`] that the suite checks.
    FORWARD = "clock forward": "`now` is never earlier than a time that it returned before, also on another thread";
    PACE = "clock pace": "the timeline goes on while real time does: after a wait it is later by at least that wait";
    INVERSE = "clock inverse": "`moment_of` is the inverse of `wall_of`";
    WALL = "clock wall": "`wall` is `wall_of` the current time";
}

/// [`Clock`]: checks every promise of [`CLAUSES`]. Needs a runtime whose time is the clock's: for the machine's clock one
/// that is not paused.
///
/// A step of the machine's clock while it runs may break the last two.
pub async fn clock(clock: Arc<dyn Clock>) {
    it_goes_forward(&clock);
    let before = clock.now();
    let wait = Duration::from_millis(20);
    tokio::time::sleep(wait).await;
    let came = clock.now().since(before);
    PACE.holds(
        came >= wait,
        format_args!("expected {wait:?} or more after a wait, and got {came:?}"),
    );

    let now = clock.now();
    for moment in [now, now + Duration::from_hours(24), now - Duration::from_hours(24)] {
        let came = clock.moment_of(clock.wall_of(moment));
        INVERSE.same("the moment of the time of day of a moment", &came, &moment);
    }
    let (before, wall, after) = (clock.now(), clock.wall(), clock.now());
    let (earliest, latest) = (clock.wall_of(before), clock.wall_of(after));
    WALL.holds(
        (earliest..=latest).contains(&wall),
        format_args!("expected a time from {earliest:?} to {latest:?}, and got {wall:?}"),
    );
}

fn it_goes_forward(clock: &Arc<dyn Clock>) {
    let mut latest = Timestamp::from_micros(i64::MIN);
    let mut later = |now: Timestamp| {
        FORWARD.holds(now >= latest, format_args!("expected {latest:?} or later, and got {now:?}"));
        latest = now;
    };
    for _ in 0..1_000 {
        later(clock.now());
    }
    let clock = Arc::clone(clock);
    let on_another = std::thread::scope(|scope| scope.spawn(move || clock.now()).join());
    later(on_another.unwrap_or_else(|_| FORWARD.broken("`now` panicked on another thread")));
}
