use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::http::StatusCode;

/// How many responses there were, by status code.
#[derive(Debug)]
pub struct ResponseCounts([AtomicU64; CODES]);

/// The codes from 100 to 599.
const CODES: usize = 500;
const FIRST: u16 = 100;

/// These are there from the beginning: an increase from nothing is not seen as one.
const WORTH_AN_ALERT: [StatusCode; 4] = [
    StatusCode::UNAUTHORIZED,
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::SERVICE_UNAVAILABLE,
];

impl ResponseCounts {
    pub(super) fn count(&self, status: StatusCode) {
        if let Some(count) = self.0.get(usize::from(status.as_u16().saturating_sub(FIRST))) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Each code with its number of responses.
    pub fn all(&self) -> Vec<(u16, u64)> {
        let each = (FIRST..).zip(&self.0).map(|(code, count)| (code, count.load(Relaxed)));
        let matters = |code: u16| WORTH_AN_ALERT.iter().any(|known| known.as_u16() == code);
        each.filter(|(code, count)| *count > 0 || matters(*code)).collect()
    }
}

impl Default for ResponseCounts {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; CODES])
    }
}
