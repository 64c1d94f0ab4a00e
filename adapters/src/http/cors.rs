use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};

use super::AllowedOrigins;

/// How long a browser may cache a preflight response, in seconds: Chromium's maximum.
const MAX_AGE_SECONDS: &str = "7200";

/// Lets pages of these origins use these routes with their own token (the CORS protocol of the Fetch standard).
/// Browsers keep all other pages away. The server's own pages do not need it.
///
/// No cookie is ever read, so no page can act with a user's browser session.
pub fn for_origins(routes: Router, allowed: &AllowedOrigins) -> Router {
    // A preflight is an `OPTIONS` request, which none of the routes accepts. The layer only sees it where the
    // routes themselves refuse a method.
    routes
        .method_not_allowed_fallback(super::endpoints::wrong_method)
        .layer(from_fn_with_state(allowed.clone(), cross_origin))
}

async fn cross_origin(
    State(allowed): State<AllowedOrigins>,
    request: Request,
    next: Next,
) -> Response {
    let origin = request.headers().get(header::ORIGIN);
    let origin = origin.filter(|origin| origin.to_str().is_ok_and(|text| allowed.contain(text)));
    let origin = origin.cloned();
    let preflight = request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match &origin {
        Some(_) if preflight => answer_preflight(request.headers()),
        _ => next.run(request).await,
    };
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let readable = HeaderValue::from_static("retry-after, x-request-id");
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, readable);
    }
    response
}

/// A page of an allowed origin may send any header: its own token is all that grants access.
fn answer_preflight(asked: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    let methods = HeaderValue::from_static("GET, POST, DELETE");
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    if let Some(wanted) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE_SECONDS));
    let varies =
        HeaderValue::from_static("access-control-request-method, access-control-request-headers");
    headers.append(header::VARY, varies);
    response
}
