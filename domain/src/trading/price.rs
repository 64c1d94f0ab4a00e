use std::fmt;
use std::str::FromStr;

use super::Symbol;
use crate::Timestamp;
use crate::decimal::{self, Fault};

/// How many decimal places prices and quantities have.
const PLACES: u32 = 6;
/// The largest price and the largest quantity: 1,000,000,000.
const MAX: i64 = 1_000_000_000 * 10_i64.pow(PLACES);

/// Why a string is neither a [`Price`] nor a [`Quantity`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// Not digits with an optional point between them.
    #[error("must be a decimal number, like \"12.5\"")]
    NotDecimal,
    /// More than six places after the point.
    #[error("must have at most six decimal places")]
    TooPrecise,
    /// Zero or less, or above the maximum.
    #[error("must be above 0 and at most 1000000000")]
    OutOfRange,
}

/// A number above zero with six decimal places.
macro_rules! positive_decimal {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(i64);

        impl $name {
            /// Millionths per unit.
            pub const SCALE: i64 = 10_i64.pow(PLACES);
            /// The smallest: one millionth.
            pub const MIN: Self = Self(1);
            /// The largest: 1,000,000,000.
            pub const MAX: Self = Self(MAX);

            /// From millionths; `None` if it is zero, negative or above [`MAX`](Self::MAX).
            pub const fn from_micros(micros: i64) -> Option<Self> {
                if micros > 0 && micros <= MAX { Some(Self(micros)) } else { None }
            }

            /// In millionths.
            pub const fn as_micros(self) -> i64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&decimal::write(self.0, PLACES, 2))
            }
        }

        impl FromStr for $name {
            type Err = DecimalError;

            fn from_str(text: &str) -> Result<Self, DecimalError> {
                let micros = decimal::read(text, PLACES as usize).map_err(|fault| match fault {
                    Fault::NotDecimal => DecimalError::NotDecimal,
                    Fault::TooPrecise => DecimalError::TooPrecise,
                    Fault::OutOfRange => DecimalError::OutOfRange,
                })?;
                Self::from_micros(micros).ok_or(DecimalError::OutOfRange)
            }
        }
    };
}

positive_decimal! {
    /// The price of one unit of an instrument: exact, above zero, with six decimal places.
    ///
    /// ```
    /// use doorstep_domain::Price;
    ///
    /// let price: Price = "1.0825".parse()?;
    /// assert_eq!((price.as_micros(), price.to_string().as_str()), (1_082_500, "1.0825"));
    /// # Ok::<(), doorstep_domain::DecimalError>(())
    /// ```
    Price
}

positive_decimal! {
    /// A number of units: exact, above zero, with six decimal places.
    Quantity
}

/// The price of an instrument at a point in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// The instrument.
    pub symbol: Symbol,
    /// The price of one unit.
    pub price: Price,
    /// The time of the price.
    pub at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_every_price() {
        for micros in [1, 10, 999_999, 1_000_000, 1_500_000, 64_000_123_456, MAX] {
            let price = Price::from_micros(micros).unwrap();
            assert_eq!(price.to_string().parse(), Ok(price));
        }
        assert_eq!(Price::MIN.to_string(), "0.000001");
        assert_eq!("2".parse::<Price>().unwrap().to_string(), "2.00");
    }

    #[test]
    fn refuses_other_texts() {
        for text in ["", "x", "1e3", ".5", "1.", "+1", "0x10", "NaN", "inf", "1,5", " 1"] {
            assert_eq!(text.parse::<Quantity>(), Err(DecimalError::NotDecimal), "{text:?}");
        }
        for text in ["0", "0.000000", "-1", "1000000000.000001", "99999999999999999999999999"] {
            assert_eq!(text.parse::<Quantity>(), Err(DecimalError::OutOfRange), "{text:?}");
        }
        assert_eq!("0.0000001".parse::<Quantity>(), Err(DecimalError::TooPrecise));
    }
}
