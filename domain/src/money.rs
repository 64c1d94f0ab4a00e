use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::decimal::{self, Fault};

/// An amount of money in minor units (hundredths): exact, without floating point.
///
/// Always written as a decimal string with two places.
///
/// ```
/// use doorstep_domain::Money;
///
/// let gift: Money = "1000.00".parse()?;
/// assert_eq!(gift.minor_units(), 100_000);
/// assert_eq!(gift.checked_add(Money::from_minor(1)).unwrap().to_string(), "1000.01");
/// # Ok::<(), doorstep_domain::MoneyError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Money(i64);

/// Why a string is not an amount of money.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not digits, with an optional sign and an optional point between digits.
    #[error("an amount is written like \"1000.00\"")]
    NotDecimal,
    /// More than two places after the point.
    #[error("an amount has at most two decimal places")]
    TooPrecise,
    /// Does not fit.
    #[error("the amount is out of range")]
    OutOfRange,
}

impl Money {
    /// Zero.
    pub const ZERO: Self = Self(0);
    /// Minor units per major unit.
    pub const SCALE: i64 = 100;

    /// From minor units (hundredths).
    pub const fn from_minor(units: i64) -> Self {
        Self(units)
    }

    /// In minor units (hundredths).
    pub const fn minor_units(self) -> i64 {
        self.0
    }

    /// The sum, or `None` when it does not fit.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference, or `None` when it does not fit.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// Whether it is below zero.
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&decimal::write(self.0, 2, 2))
    }
}

impl FromStr for Money {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        decimal::read(text, 2).map(Self).map_err(|fault| match fault {
            Fault::NotDecimal => MoneyError::NotDecimal,
            Fault::TooPrecise => MoneyError::TooPrecise,
            Fault::OutOfRange => MoneyError::OutOfRange,
        })
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_every_amount() {
        for units in [0, 1, -1, 99, 100, -100, -199, 100_000, i64::MAX, i64::MIN] {
            let money = Money::from_minor(units);
            assert_eq!(money.to_string().parse(), Ok(money));
        }
        assert_eq!("12".parse(), Ok(Money::from_minor(1200)));
        assert_eq!("12.5".parse(), Ok(Money::from_minor(1250)));
    }

    #[test]
    fn refuses_other_texts() {
        for text in ["", "-", ".", "1.", ".5", "+1", "1e3", "1,000.00", " 1", "١", "--1"] {
            assert_eq!(text.parse::<Money>(), Err(MoneyError::NotDecimal), "{text:?}");
        }
        assert_eq!("0.001".parse::<Money>(), Err(MoneyError::TooPrecise));
        assert_eq!("92233720368547758.08".parse::<Money>(), Err(MoneyError::OutOfRange));
    }
}
