use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, Uri, Version, header};

use super::Problem;

/// The longest request target, in bytes; a longer one gets a 414.
const MAX_TARGET_BYTES: usize = 8 * 1024;

/// Refuses messages that RFC 9112 forbids and that the parser accepts. After such a message it is uncertain where
/// the next one begins, so the connection must be closed.
pub(super) fn check(request: &Request) -> Result<(), Problem> {
    check_host(request.version(), request.uri(), request.headers())?;
    check_framing(request.headers())?;
    check_target(request.uri())
}

/// Checks that there is one valid `Host` (RFC 9112 section 3.2), which HTTP/1.0 may leave out.
fn check_host(version: Version, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let bad = |detail: &str| Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (None, _) if version < Version::HTTP_11 => return Ok(()),
        (None, _) => return bad("the `Host` is missing"),
        (Some(_), Some(_)) => return bad("there is more than one `Host`"),
        (Some(host), None) => host.as_bytes(),
    };
    // It may be empty if the target has no authority.
    let valid = (host.is_empty() && uri.authority().is_none()) || is_host(host);
    if valid { Ok(()) } else { bad("the `Host` is not a host") }
}

/// Whether this is a host with an optional port (RFC 3986 section 3.2), without a user.
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

/// Checks that the transfer coding is supported (RFC 9112 section 6.1). If there is a `Content-Length` as well,
/// hyper ignores it and closes the connection after the response.
fn check_framing(headers: &HeaderMap) -> Result<(), Problem> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    if codings.next().is_some() || !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked")
    {
        let detail = "the only supported transfer coding is `chunked`";
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
