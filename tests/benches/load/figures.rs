//! What a scenario has measured.

use hdrhistogram::Histogram;

/// A number with its name, which contains the unit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: f64,
}

/// In the order in which they are printed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures(pub(crate) Vec<Figure>);

impl Figures {
    pub(crate) fn add(&mut self, name: &str, value: f64) {
        self.0.push(Figure { name: name.to_owned(), value });
    }

    /// Adds p50, p99, p99.9 and the largest, of microseconds.
    pub(crate) fn add_times(&mut self, name: &str, times: &Histogram<u64>) {
        for (label, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
            self.add(&format!("{name}, {label} us"), to_f64(times.value_at_quantile(quantile)));
        }
    }

    pub(crate) fn print(&self) {
        for Figure { name, value } in &self.0 {
            println!("  {name:50}{:>14}", round(*value));
        }
    }
}

/// With three digits or more, whatever is before the point.
pub(crate) fn round(value: f64) -> String {
    let digits = if value.abs() < 10.0 { 2 } else { usize::from(value.abs() < 100.0) };
    format!("{value:.digits$}")
}

/// The counts here stay far below 2^52, up to which a float is exact.
#[expect(clippy::cast_precision_loss)]
pub(crate) fn to_f64(count: u64) -> f64 {
    count as f64
}

/// As [`to_f64`].
#[expect(clippy::cast_precision_loss)]
pub(crate) fn per(total: f64, count: usize) -> f64 {
    total / count as f64
}
