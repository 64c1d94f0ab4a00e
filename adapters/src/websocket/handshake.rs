use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use axum::response::{IntoResponse as _, Response};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::conversation::Mode;
use crate::http::{Problem, bearer_token};

/// The subprotocol of clients that acknowledge.
const ACKNOWLEDGING: &str = "doorstep.v1";
/// The subprotocol of clients that do not.
const PLAIN: &str = "doorstep.plain.v1";
/// A browser cannot set headers, so its token comes as one more offered subprotocol.
const TOKEN_PREFIX: &str = "bearer.";

/// The client's token, from a header or a subprotocol.
pub(super) fn token(headers: &HeaderMap) -> Option<&str> {
    bearer_token(headers)
        .or_else(|| offered(headers).find_map(|name| name.strip_prefix(TOKEN_PREFIX)))
}

/// The client's mode, and the subprotocol to select.
///
/// A client that offers subprotocols and gets none of them must end the connection (RFC 6455 section 4.1, and
/// browsers do); frames written to it would be lost. Therefore an offer without one of ours is refused.
pub(super) fn mode(headers: &HeaderMap) -> Result<(Mode, Option<&'static str>), Problem> {
    let offers = |wanted: &str| offered(headers).any(|name| name == wanted);
    if offers(ACKNOWLEDGING) {
        Ok((Mode::Acknowledging, Some(ACKNOWLEDGING)))
    } else if offers(PLAIN) {
        Ok((Mode::Plain, Some(PLAIN)))
    } else if headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL) {
        let detail = "none of the offered subprotocols is supported: offer `doorstep.v1` (the client \
                      acknowledges) or `doorstep.plain.v1` (it does not), in addition to `bearer.TOKEN`";
        Err(Problem::new(StatusCode::BAD_REQUEST, detail))
    } else {
        Ok((Mode::Plain, None))
    }
}

fn offered(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).map(str::trim)
}

/// Returns the response to an opening handshake (RFC 6455 section 4.2), or the problem with it.
pub(super) fn answer(
    method: &Method,
    version: Version,
    headers: &HeaderMap,
    protocol: Option<&'static str>,
) -> Result<Response, Problem> {
    if version < Version::HTTP_11 {
        return Err(required(StatusCode::BAD_REQUEST, "a WebSocket begins with HTTP/1.1"));
    }
    let says = |name, word: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.split(',').any(|token| token.trim().eq_ignore_ascii_case(word)))
    };
    let upgrades = method == Method::GET
        && says(header::CONNECTION, "upgrade")
        && says(header::UPGRADE, "websocket");
    if !upgrades {
        let detail = "this is a WebSocket: connect with an `Upgrade: websocket`";
        return Err(required(StatusCode::UPGRADE_REQUIRED, detail));
    }
    let mut versions = headers.get_all(header::SEC_WEBSOCKET_VERSION).iter();
    if versions.next().is_none_or(|version| version != "13") || versions.next().is_some() {
        return Err(required(StatusCode::UPGRADE_REQUIRED, "WebSocket version 13 is required"));
    }
    let mut keys = headers.get_all(header::SEC_WEBSOCKET_KEY).iter();
    let (Some(key), None) = (keys.next().filter(|key| is_key(key)), keys.next()) else {
        let detail = "there must be one `Sec-WebSocket-Key`, 16 bytes in Base64";
        return Err(required(StatusCode::BAD_REQUEST, detail));
    };
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let answers = response.headers_mut();
    answers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    answers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::try_from(derive_accept_key(key.as_bytes())) {
        answers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(protocol) = protocol {
        answers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    }
    Ok(response)
}

/// Whether this is 16 bytes in Base64 (RFC 6455 section 4.2.1): 22 characters, the last of which carries two bits,
/// and the padding.
fn is_key(key: &HeaderValue) -> bool {
    let [sixteen_bytes @ .., b'=', b'='] = key.as_bytes() else { return false };
    let [whole @ .., last] = sixteen_bytes else { return false };
    let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    whole.len() == 21 && whole.iter().all(base64) && b"AQgw".contains(last)
}

fn required(status: StatusCode, detail: &str) -> Problem {
    Problem::new(status, detail)
        .with_header(header::UPGRADE, HeaderValue::from_static("websocket"))
        .with_header(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().cloned();
        pairs.map(|(name, value)| (name, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn one_of_the_two_subprotocols_is_selected_and_never_the_token() {
        let cases = [
            ("doorstep.v1, bearer.abc", Some((Mode::Acknowledging, Some("doorstep.v1")))),
            ("bearer.abc,doorstep.plain.v1", Some((Mode::Plain, Some("doorstep.plain.v1")))),
            ("doorstep.plain.v1, doorstep.v1", Some((Mode::Acknowledging, Some("doorstep.v1")))),
            ("bearer.abc", None),
            ("doorstep.v2", None),
            ("", None),
        ];
        for (offer, expected) in cases {
            let headers = headers(&[(header::SEC_WEBSOCKET_PROTOCOL, offer)]);
            assert_eq!(mode(&headers).ok(), expected, "{offer}");
        }
        assert_eq!(mode(&HeaderMap::new()).ok(), Some((Mode::Plain, None)));
    }

    #[test]
    fn the_token_comes_in_a_header_or_as_a_subprotocol() {
        let protocol = (header::SEC_WEBSOCKET_PROTOCOL, "doorstep.v1, bearer.two");
        assert_eq!(token(&headers(std::slice::from_ref(&protocol))), Some("two"));
        let both = headers(&[(header::AUTHORIZATION, "Bearer one"), protocol]);
        assert_eq!(token(&both), Some("one"));
        assert_eq!(token(&headers(&[])), None);
    }
}
