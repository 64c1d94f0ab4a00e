use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest as _, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};

use super::Problem;

/// How long a client may take to send a body.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Reads the body of a request that declares JSON, within the route's limit and [`PATIENCE`]. Does not parse it.
pub(crate) async fn json_bytes<S: Send + Sync>(
    request: Request,
    state: &S,
) -> Result<Bytes, Problem> {
    check_headers(request.headers())?;
    let body = tokio::time::timeout(PATIENCE, Bytes::from_request(request, state));
    let body = match body.await {
        Ok(Ok(body)) => body,
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            return Err(too_large());
        }
        Ok(Err(_)) => return Err(broke_off()),
        Err(_) => return Err(too_slow()),
    };
    check_begin(&body)?;
    Ok(body)
}

pub(super) fn too_large() -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large")
}

pub(super) fn broke_off() -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "the body ended early")
}

pub(super) fn too_slow() -> Problem {
    Problem::new(StatusCode::REQUEST_TIMEOUT, "the body took too long to arrive")
}

/// Checks that the body is declared as JSON, without a content coding: nothing is decompressed here.
pub(super) fn check_headers(headers: &HeaderMap) -> Result<(), Problem> {
    if !is_json(headers) {
        let detail = "the body must be JSON, declared with `Content-Type: application/json`";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    if codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        let detail = "the body must not have a `Content-Encoding`";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
            .with_header(header::ACCEPT_ENCODING, HeaderValue::from_static("identity")));
    }
    Ok(())
}

/// Refuses a byte order mark (RFC 8259 section 8.1): our parser would skip it, and other parsers would not.
pub(super) fn check_begin(body: &[u8]) -> Result<(), Problem> {
    if body.starts_with(b"\xef\xbb\xbf") {
        let detail = "the body is not JSON: it begins with a byte order mark";
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    Ok(())
}

/// `application/json` or `application/*+json`, with any parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(value)) = headers.get(header::CONTENT_TYPE).map(|value| value.to_str()) else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence
        .strip_prefix("application/")
        .is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}
