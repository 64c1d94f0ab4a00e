//! Messages with a number, and when each was sent.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// How long a payload is.
pub(crate) const PAYLOAD_BYTES: usize = 200;
const BEFORE: &str = "{\"n\":\"";
const BETWEEN: &str = "\",\"text\":\"";
const AFTER: &str = "\"}";
const DIGITS: usize = 12;

/// A payload of 200 bytes that contains a number.
pub(crate) fn payload(number: usize) -> String {
    let text = PAYLOAD_BYTES - BEFORE.len() - DIGITS - BETWEEN.len() - AFTER.len();
    format!("{BEFORE}{number:0DIGITS$}{BETWEEN}{}{AFTER}", "x".repeat(text))
}

/// The number in a frame, if the frame contains such a payload.
pub(crate) fn number(frame: &str) -> Option<usize> {
    let (_, rest) = frame.split_once(BEFORE)?;
    rest.get(..DIGITS)?.parse().ok()
}

/// When each message was sent, and how long each took to its receipt.
pub(crate) struct Journeys {
    sent: RefCell<Vec<Option<Instant>>>,
    took: RefCell<Histogram<u64>>,
}

impl Journeys {
    pub(crate) fn new() -> Self {
        Self { sent: RefCell::default(), took: RefCell::new(times()) }
    }

    /// The number of a message that is about to be sent.
    pub(crate) fn begin(&self) -> usize {
        let mut sent = self.sent.borrow_mut();
        sent.push(Some(Instant::now()));
        sent.len() - 1
    }

    /// A message has been received.
    pub(crate) fn end(&self, number: usize) {
        // A repeated push is not counted again.
        if let Some(sent) = self.sent.borrow_mut().get_mut(number).and_then(Option::take) {
            self.took.borrow_mut().saturating_record(micros(sent.elapsed()));
        }
    }

    pub(crate) fn sent(&self) -> usize {
        self.sent.borrow().len()
    }

    pub(crate) fn received(&self) -> usize {
        usize::try_from(self.took.borrow().len()).unwrap_or(usize::MAX)
    }

    pub(crate) fn times(&self) -> Histogram<u64> {
        self.took.borrow().clone()
    }
}

/// Counts microseconds, up to ten minutes.
pub(crate) fn times() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("these bounds are possible")
}

pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
