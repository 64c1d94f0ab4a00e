//! Many rows in few statements.

use std::fmt::Write;

/// The most rows in one statement. More gain little: SQLite looks up each parameter by name.
const ROWS: usize = 64;

/// Splits into pieces of 64, 32, 16, ... 1 rows: for any number of rows there are only seven different statements,
/// and each stays prepared.
pub(super) fn pieces<T>(all: &[T]) -> impl Iterator<Item = &[T]> {
    let mut rest = all;
    std::iter::from_fn(move || {
        let most = ROWS.min(rest.len());
        let (piece, after) = rest.split_at(1 << most.checked_ilog2()?);
        rest = after;
        Some(piece)
    })
}

/// `($1, $2), ($3, $4)`: parameters for this many rows and columns, numbered from `first`.
pub(super) fn places(first: usize, rows: usize, columns: usize) -> String {
    let mut text = String::with_capacity(rows * columns * 6);
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { "), (" });
        for column in 0..columns {
            let comma = if column == 0 { "" } else { ", " };
            // Writing to a string never fails.
            let _ = write!(text, "{comma}${}", first + row * columns + column);
        }
    }
    text.push(')');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_powers_of_two_and_lose_nothing() {
        let all: Vec<_> = (0..171).collect();
        let sizes: Vec<_> = pieces(&all).map(<[_]>::len).collect();
        assert_eq!(sizes, [64, 64, 32, 8, 2, 1]);
        assert_eq!(pieces(&all).flatten().copied().collect::<Vec<_>>(), all);
        assert_eq!(pieces::<u8>(&[]).count(), 0);
    }

    #[test]
    fn places_are_numbered_on() {
        assert_eq!(places(2, 2, 2), "($2, $3), ($4, $5)");
    }
}
