use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// Lets pages of these origins use these routes, with a token of theirs; whoever asks from elsewhere is kept
/// away by their browser. The server's own pages need none of it.
///
/// No cookie is ever looked at, so no page can borrow what the browser knows of a user.
pub fn for_origins(routes: Router, allowed: &[String]) -> Router {
    /// How a stream of events says where it had come to.
    const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
    let allowed = allowed.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    let layer = CorsLayer::new()
        .allow_origin(AllowOrigin::list(allowed))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, LAST_EVENT_ID]);
    // A browser's question beforehand is an `OPTIONS`, which none of the routes takes: without an answer of
    // theirs to that, the layer would not be asked.
    routes.method_not_allowed_fallback(super::wrong_method).layer(layer)
}
