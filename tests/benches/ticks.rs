//! The cost of a new price with 100,000 open positions: `cargo bench -p doorstep-tests --bench ticks`.
//!
//! One instrument, with the positions' triggers spread evenly over a wide range of prices. In each row the price
//! moves just far enough for each tick to cross the given number of triggers. Crossed positions are opened again
//! (untimed), so their number stays constant. The first rows differ in the number of open positions, with none
//! crossed: the cost of a tick must not grow with it. The index (`application::trading::TriggerIndex`) is measured, that is
//! finding and removing; settling is the store's part, which the bench `orders` measures.
//!
//! Measured: with nothing crossed a tick looks at the ends of two ordered sets, which takes 21 ns with 1,000 open
//! and 39 ns with 100,000 (the deeper tree, out of the cache). Each crossed position costs 0.5 to 1.5 us for its
//! removal from both sets and from the map, so 100,000 open and 40 crossed per tick still give 48,000 ticks/s.

#![allow(clippy::cast_precision_loss, reason = "figures for people")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use doorstep_application::trading::TriggerIndex;
use doorstep_domain::{Order, Position, PositionId, Price, Side, Timestamp, UserId};
use uuid::Uuid;

/// The price at which every position was opened.
const MIDDLE: i64 = 1_000_000;

fn price(units: i64) -> Price {
    Price::from_micros(units * 10_000).expect("a price")
}

fn position(number: i64) -> Position {
    let away = number / 4 + 1;
    // All four kinds of triggers; each position has one above and one below the price.
    let side = if number % 2 == 0 { Side::Long } else { Side::Short };
    let (low, high) = (price(MIDDLE - away), price(MIDDLE + away));
    let (stop_loss, take_profit) = if side == Side::Long { (low, high) } else { (high, low) };
    let order = Order {
        symbol: "X".parse().expect("a symbol"),
        side,
        quantity: "1".parse().expect("a quantity"),
        stop_loss: Some(stop_loss),
        take_profit: Some(take_profit),
    };
    let id = PositionId::new(Uuid::from_u128(number.unsigned_abs().into()));
    let user = UserId::from(Uuid::nil());
    Position::open(id, user, order, price(MIDDLE), Timestamp::MAX).expect("a position")
}

/// The time of one tick with this many open positions, of which each tick crosses four times `units`.
fn row(open: i64, units: i64) {
    let mut index = TriggerIndex::default();
    for number in 0..open {
        assert!(index.add(position(number), Timestamp::default()).is_none());
    }
    let (mut ticks, mut crossed, mut took) = (0_u32, 0_usize, Duration::ZERO);
    while took < Duration::from_millis(500) {
        let to = if ticks.is_multiple_of(2) { MIDDLE - units } else { MIDDLE + units };
        let batch = if units == 0 { 1000 } else { 1 };
        let began = Instant::now();
        let mut found = Vec::new();
        for _ in 0..batch {
            found = black_box(index.price(black_box(price(to)), Timestamp::default()));
        }
        took += began.elapsed();
        ticks += batch;
        crossed += found.len();
        for back in found {
            assert!(index.add(back.position, Timestamp::default()).is_none());
        }
    }
    assert_eq!(i64::try_from(index.len()), Ok(open));
    let each = took / ticks;
    let per_tick = crossed as f64 / f64::from(ticks);
    let per_crossed = if crossed == 0 { 0.0 } else { took.as_nanos() as f64 / crossed as f64 };
    let per_second = f64::from(ticks) / took.as_secs_f64();
    println!("{open:>9} {per_tick:>10.0} {per_second:>14.0} {each:>12.2?} {per_crossed:>12.0} ns");
}

fn main() {
    println!("     open    crossed        ticks/s    each tick   each crossed");
    for open in [1_000, 10_000, 100_000] {
        row(open, 0);
    }
    for units in [1, 10, 100, 1_000, 10_000] {
        row(100_000, units);
    }
}
