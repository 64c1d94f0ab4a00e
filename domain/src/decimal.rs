//! Decimal numbers with a fixed number of places, stored as an integer in units of the last place.

/// Why a string is not such a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not digits, with an optional sign and an optional point between digits.
    NotDecimal,
    /// Too many places after the point.
    TooPrecise,
    /// Does not fit.
    OutOfRange,
}

/// Reads `-12.5` with two places as -1250.
pub(crate) fn read(text: &str, places: usize) -> Result<i64, Fault> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return Err(Fault::NotDecimal),
        None => (digits, ""),
    };
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
        return Err(Fault::NotDecimal);
    }
    if fraction.len() > places {
        return Err(Fault::TooPrecise);
    }
    // Negative from the start, so that the smallest number can be read too.
    let sign = if negative { -1 } else { 1 };
    let zeros = std::iter::repeat_n(b'0', places - fraction.len());
    let mut units: i64 = 0;
    for digit in whole.bytes().chain(fraction.bytes()).chain(zeros) {
        units = units
            .checked_mul(10)
            .and_then(|u| u.checked_add(sign * i64::from(digit - b'0')))
            .ok_or(Fault::OutOfRange)?;
    }
    Ok(units)
}

/// Writes -1250 with two places as `-12.50`. Omits trailing zeros after the first `at_least` places.
pub(crate) fn write(units: i64, places: u32, at_least: usize) -> String {
    let sign = if units < 0 { "-" } else { "" };
    let (units, scale) = (units.unsigned_abs(), 10_u64.pow(places));
    let fraction = format!("{:0width$}", units % scale, width = places as usize);
    let needed = fraction.trim_end_matches('0').len().max(at_least);
    format!("{sign}{}.{}", units / scale, &fraction[..needed])
}
