use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// What lets pages of these origins use the routes that it is laid over, with a token of theirs; whoever asks
/// from elsewhere is kept away by their browser. The server's own pages need none of it.
///
/// No cookie is ever looked at, so no page can borrow what the browser knows of a user.
pub fn for_origins(allowed: &[String]) -> CorsLayer {
    /// How a stream of events says where it had come to.
    const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
    let allowed = allowed.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(allowed))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, LAST_EVENT_ID])
}
