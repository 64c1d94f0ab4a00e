use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, StatusCode, Uri, header};

use super::WebhookError;
use crate::https::{self, HttpClient, HttpsError, said};

/// What posts to the receiver.
pub(super) struct Client {
    http: HttpClient,
    url: Uri,
    timeout: Duration,
}

/// The receiver did not take a message.
pub(super) struct Untaken {
    pub(super) why: String,
    /// It answered 410: it wants no more of it, and asking again is no use.
    pub(super) unwanted: bool,
}

impl Client {
    /// A client for this URL. Over TLS it trusts the authorities in `authorities` (PEM), or else those that
    /// this machine trusts.
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
        headers: [(&'static str, String); 3],
        body: Bytes,
    ) -> Result<(), Untaken> {
        let untaken = |why| Untaken { why, unwanted: false };
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
                Err(Untaken { why: format!("it answered {status}"), unwanted })
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
