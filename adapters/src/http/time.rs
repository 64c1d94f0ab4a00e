use doorstep_domain::Timestamp;

/// Formats a moment as RFC 3339 in UTC, with microseconds. Moments after the year 9999 are shown as the end of
/// that year.
///
/// ```
/// # use doorstep_adapters::http::rfc3339;
/// # use doorstep_domain::Timestamp;
/// assert_eq!(rfc3339(Timestamp::from_micros(1_000_001)), "1970-01-01T00:00:01.000001Z");
/// ```
pub fn rfc3339(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_microsecond(at.as_micros()).unwrap_or(jiff::Timestamp::MAX);
    format!("{at:.6}")
}
