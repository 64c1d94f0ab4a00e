use std::time::Duration;

use bytes::Bytes;
use doorstep_domain::Timestamp;
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use hyper::{Request, StatusCode, Uri};

use super::WebhookError;
use crate::error_chain::said;
use crate::https::{self, HttpClient, HttpsError};

/// The HTTP client for the receiver.
pub(super) struct WebhookClient {
    http: HttpClient,
    url: Uri,
    timeout: Duration,
}

/// The receiver did not accept a message.
pub(super) struct Untaken {
    pub(super) why: String,
    /// It answered 410: it wants no more messages, so retries are useless.
    pub(super) unwanted: bool,
    /// Its `Retry-After`.
    pub(super) retry_after: Option<RetryAfter>,
}

/// When the receiver wants the next request (RFC 9110 section 10.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetryAfter {
    In(Duration),
    At(Timestamp),
}

impl RetryAfter {
    /// Parses the header's value; `None` if it is neither seconds nor a date.
    fn parse(value: &HeaderValue) -> Option<Self> {
        let text = value.to_str().ok()?.trim();
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            // A number with too many digits means a very long time.
            return Some(Self::In(Duration::from_secs(text.parse().unwrap_or(u64::MAX))));
        }
        let at = jiff::fmt::rfc2822::parse(text).ok()?;
        Some(Self::At(Timestamp::from_micros(at.timestamp().as_microsecond())))
    }

    /// The time to wait, from this time of day.
    pub(super) fn from(self, now: Timestamp) -> Duration {
        match self {
            Self::In(wait) => wait,
            Self::At(moment) => moment.since(now),
        }
    }
}

impl WebhookClient {
    /// A client for this URL. Over TLS it trusts the authorities in `authorities` (PEM), or else those of this
    /// machine.
    pub(super) fn new(
        url: &str,
        authorities: Option<&[u8]>,
        timeout: Duration,
    ) -> Result<Self, WebhookError> {
        let (http, url) = https::client(url, authorities)?;
        Ok(Self { http, url, timeout })
    }

    /// Posts one message.
    pub(super) async fn post(
        &self,
        headers: impl IntoIterator<Item = (&'static str, String)>,
        body: Bytes,
    ) -> Result<(), Untaken> {
        let untaken = |why| Untaken { why, unwanted: false, retry_after: None };
        let mut request = Request::post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("doorstep/", env!("CARGO_PKG_VERSION")));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body)).map_err(|e| untaken(e.to_string()))?;
        match tokio::time::timeout(self.timeout, self.http.request(request)).await {
            Ok(Ok(response)) if response.status().is_success() => Ok(()),
            Ok(Ok(response)) => {
                let status = response.status();
                let unwanted = status == StatusCode::GONE;
                let retry_after = response.headers().get(header::RETRY_AFTER);
                let retry_after = retry_after.and_then(RetryAfter::parse);
                Err(Untaken { why: format!("it answered {status}"), unwanted, retry_after })
            }
            Ok(Err(error)) => Err(untaken(said(&error))),
            Err(_) => Err(untaken(format!("no answer within {:?}", self.timeout))),
        }
    }
}

impl From<HttpsError> for WebhookError {
    fn from(error: HttpsError) -> Self {
        match error {
            HttpsError::Url => Self::Url,
            HttpsError::Authorities => Self::Authorities,
            HttpsError::AuthoritiesWithoutTls => Self::AuthoritiesWithoutTls,
            HttpsError::NoAuthorities => Self::NoAuthorities,
            HttpsError::Tls(why) => Self::Client(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_says_when_in_seconds_or_as_a_date() {
        let now = Timestamp::from_micros(784_111_777_000_000); // Sun, 06 Nov 1994 08:49:37 GMT
        let wait = |text: &'static str| {
            RetryAfter::parse(&HeaderValue::from_static(text)).map(|when| when.from(now))
        };
        assert_eq!(wait("90"), Some(Duration::from_secs(90)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:50:37 GMT"), Some(Duration::from_mins(1)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("99999999999999999999999"), Some(Duration::from_secs(u64::MAX)));
        for text in ["", "soon", "-1", "1.5", "+3"] {
            assert_eq!(wait(text), None, "{text:?}");
        }
    }
}
