use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::Problem;

/// The longest target of a request, in bytes; a longer one is a 414.
const MAX_TARGET_BYTES: usize = 8 * 1024;

/// Refuses messages that RFC 9112 does not allow and that the parser lets pass. After such a message nobody knows
/// where the next one begins, so the connection is closed.
pub(crate) async fn well_formed(request: Request, next: Next) -> Response {
    let checked = check_host(request.version(), request.uri(), request.headers())
        .and_then(|()| check_framing(request.headers()))
        .and_then(|()| check_target(request.uri()));
    match checked {
        Ok(()) => next.run(request).await,
        Err(problem) => {
            let mut response = problem.into_response();
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            response
        }
    }
}

/// RFC 9112 section 3.2: one valid `Host`, which HTTP/1.0 may leave out.
fn check_host(version: Version, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let bad = |detail: &str| Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (None, _) if version < Version::HTTP_11 => return Ok(()),
        (None, _) => return bad("the `Host` is missing"),
        (Some(_), Some(_)) => return bad("there is more than one `Host`"),
        (Some(host), None) => host.as_bytes(),
    };
    // It is empty where the target has no authority.
    let valid = (host.is_empty() && uri.authority().is_none()) || is_host(host);
    if valid { Ok(()) } else { bad("the `Host` is not a host") }
}

/// A host and perhaps a port (RFC 3986 section 3.2), without a user.
fn is_host(text: &[u8]) -> bool {
    let authority = Uri::try_from(text).ok().and_then(|uri| uri.into_parts().authority);
    authority.is_some_and(|authority| {
        let port = authority.as_str().strip_prefix(authority.host());
        let port_valid = port.is_some_and(|port| {
            port.is_empty()
                || port
                    .strip_prefix(':')
                    .is_some_and(|port| port.is_empty() || port.parse::<u16>().is_ok())
        });
        !authority.host().is_empty() && port_valid
    })
}

/// RFC 9112 section 6.1: a transfer coding that is understood. (Beside one, hyper ignores a `Content-Length` and closes
/// the connection after its answer.)
fn check_framing(headers: &HeaderMap) -> Result<(), Problem> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    if codings.next().is_some() || !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked")
    {
        let detail = "the only transfer coding that is understood is `chunked`";
        return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, detail));
    }
    Ok(())
}

fn check_target(uri: &Uri) -> Result<(), Problem> {
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    if target.len() > MAX_TARGET_BYTES {
        return Err(Problem::new(StatusCode::URI_TOO_LONG, "the target is too long"));
    }
    Ok(())
}
