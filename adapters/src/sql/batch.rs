//! Many rows in few statements.

use std::fmt::Write;

/// Rows in one statement, at most. More gain little: SQLite looks for each value by the name of its place.
const ROWS: usize = 64;

/// Cuts into pieces of 64, 32, 16, ... 1: whatever the number of rows, only seven statements are ever made of
/// it, and each stays prepared.
pub(super) fn pieces<T>(all: &[T]) -> impl Iterator<Item = &[T]> {
    let mut rest = all;
    std::iter::from_fn(move || {
        let most = ROWS.min(rest.len());
        let (piece, after) = rest.split_at(1 << most.checked_ilog2()?);
        rest = after;
        Some(piece)
    })
}

/// `($1, $2), ($3, $4)`: places for so many rows of so many columns, the first numbered `first`.
pub(super) fn places(first: usize, rows: usize, columns: usize) -> String {
    let mut text = String::with_capacity(rows * columns * 6);
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { "), (" });
        for column in 0..columns {
            let comma = if column == 0 { "" } else { ", " };
            // Writing to a string does not fail.
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
