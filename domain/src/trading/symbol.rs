use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The name of an instrument, like `BTC-USD`: 1 to 16 capital ASCII letters, digits, `-`, `.` and `/`. Cheap to
/// clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol(Arc<str>);

/// The string is not a [`Symbol`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a symbol is 1 to 16 capital ASCII letters, digits, hyphens, points and slashes")]
pub struct SymbolError;

impl Symbol {
    /// The maximum length, in bytes.
    pub const MAX_BYTES: usize = 16;

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Symbol {
    type Err = SymbolError;

    fn from_str(text: &str) -> Result<Self, SymbolError> {
        let allowed =
            |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'/');
        let fits = (1..=Self::MAX_BYTES).contains(&text.len());
        if fits && text.bytes().all(allowed) { Ok(Self(text.into())) } else { Err(SymbolError) }
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_accept_only_their_characters() {
        for good in ["A", "BTC-USD", "BRK.B", "EUR/USD", "X123456789012345"] {
            assert_eq!(good.parse::<Symbol>().unwrap().as_str(), good);
        }
        for bad in ["", "btc", "BTC USD", "Ä", "X1234567890123456", "A\0"] {
            assert_eq!(bad.parse::<Symbol>(), Err(SymbolError), "{bad:?}");
        }
    }
}
