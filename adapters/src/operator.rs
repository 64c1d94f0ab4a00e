//! The client of an operator's commands: asks a node something, with a service key.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{ACCEPT, AUTHORIZATION};
use hyper::{Request, StatusCode, Uri};

use crate::error_chain::said;
use crate::https::{HttpClient, HttpsError, client};

/// How much of an answer is read.
const ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// Asks one node.
pub struct OperatorClient {
    http: HttpClient,
    /// Without a slash at its end.
    url: String,
    key: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The URL is not one of a node.
    #[error("{0:?} is not a URL like http://127.0.0.1:3000")]
    Url(String),
    /// TLS cannot be set up.
    #[error("no TLS connection can be made: {0}")]
    Tls(String),
    /// Nobody answers there.
    #[error("{0}")]
    Unreachable(String),
    /// The node did not accept the key.
    #[error("the node does not accept this service key")]
    Key,
    /// The node answered with something else than what was asked for.
    #[error("{status}: {detail}")]
    Refused {
        /// The status of its answer.
        status: StatusCode,
        /// Its reason; empty if it does not answer like a node.
        detail: String,
    },
}

impl OperatorClient {
    /// For the node at this URL. Over TLS, its certificate must be one that this machine trusts.
    pub fn new(url: &str, key: &str) -> Result<Self, OperatorError> {
        let url = url.trim_end_matches('/');
        let wrong = || OperatorError::Url(url.to_owned());
        let (http, parsed) = client(url, None).map_err(|error| match error {
            HttpsError::NoAuthorities => {
                OperatorError::Tls("this machine has no CA certificates".to_owned())
            }
            HttpsError::Tls(why) => OperatorError::Tls(why),
            _ => wrong(),
        })?;
        if parsed.query().is_some() {
            return Err(wrong());
        }
        Ok(Self { http, url: url.to_owned(), key: key.to_owned() })
    }

    /// Returns the body of the answer to `GET` of this path. The caller bounds the time.
    pub async fn get(&self, path: &str) -> Result<Bytes, OperatorError> {
        let uri: Uri =
            format!("{}{path}", self.url).parse().map_err(|_| OperatorError::Url(path.into()))?;
        let request = Request::get(uri)
            .header(AUTHORIZATION, format!("Bearer {}", self.key))
            .header(ACCEPT, "application/json")
            .body(Full::default())
            // Only a key with a line break in it is no header.
            .map_err(|_| OperatorError::Key)?;
        let answer = self.http.request(request).await.map_err(|e| unreachable(&e))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
        let body = body.map_err(|e| OperatorError::Unreachable(e.to_string()))?.to_bytes();
        match status {
            StatusCode::OK => Ok(body),
            StatusCode::UNAUTHORIZED => Err(OperatorError::Key),
            _ => Err(OperatorError::Refused { status, detail: detail_of(&body) }),
        }
    }
}

fn detail_of(body: &[u8]) -> String {
    let problem: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str());
    detail.unwrap_or_default().to_owned()
}

fn unreachable(error: &(dyn std::error::Error + 'static)) -> OperatorError {
    let mut cause = Some(error);
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<std::io::Error>()
            && io.kind() == std::io::ErrorKind::ConnectionRefused
        {
            return OperatorError::Unreachable("nobody listens there".to_owned());
        }
        cause = inner.source();
    }
    OperatorError::Unreachable(said(error))
}
