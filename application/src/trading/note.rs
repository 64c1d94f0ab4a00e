//! The last tick as text, as it stands in the row of the lease: its number, place and time, and a line per price.

use std::fmt::Write as _;
use std::str::FromStr;

use doorstep_domain::ports::{Fence, Tick};
use doorstep_domain::{Quote, Timestamp};

/// Writes it.
pub(super) fn write(tick: &Tick) -> String {
    let mut text = format!("{} {} {}", tick.number, tick.place, tick.at.as_micros());
    for Quote { symbol, price, at } in &tick.quotes {
        // Writing to a string does not fail.
        let _ = write!(text, "\n{symbol} {price} {}", at.as_micros());
    }
    text
}

/// Reads it. `None` if there is none, or another version has written it in another way.
pub(super) fn read(text: &str, fence: Fence) -> Option<Tick> {
    let mut lines = text.lines();
    let mut head = lines.next()?.split(' ');
    let (number, place, at) = (next(&mut head)?, next(&mut head)?, next(&mut head)?);
    let quotes = lines.map(|line| {
        let mut words = line.split(' ');
        let (symbol, price) = (next(&mut words)?, next(&mut words)?);
        Some(Quote { symbol, price, at: Timestamp::from_micros(next(&mut words)?) })
    });
    let quotes = quotes.collect::<Option<_>>()?;
    Some(Tick { fence, number, place, at: Timestamp::from_micros(at), quotes })
}

fn next<'a, T: FromStr>(words: &mut impl Iterator<Item = &'a str>) -> Option<T> {
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let quote = |symbol: &str, price: &str| Quote {
            symbol: symbol.parse().unwrap(),
            price: price.parse().unwrap(),
            at: Timestamp::from_micros(77),
        };
        let quotes = vec![quote("A", "1.000001"), quote("BTC-USD", "64000.00")];
        let at = Timestamp::from_micros(78);
        let tick = Tick { fence: Fence(4), number: 9, place: 3, at, quotes };
        assert_eq!(read(&write(&tick), Fence(4)), Some(tick.clone()));
        assert_eq!(
            read(&write(&Tick { quotes: vec![], ..tick.clone() }), Fence(4)).unwrap().number,
            9
        );
        for other in ["", "x", "1 2", "1 2 3\nA", "1 2 3\nA nothing 4"] {
            assert_eq!(read(other, Fence(1)), None, "{other:?}");
        }
    }
}
