use std::any::Any;
use std::time::Instant;

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use tracing::{Instrument as _, Level, Span};
use uuid::Uuid;

use super::Problem;
use super::client_address::client;
use super::trace::trace_of;

/// The response header with the request's id, which the log lines carry too. A node that logs less than `info` has none.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives each request an id, if log lines carry it, and logs it once it has been answered.
pub(super) async fn observe(
    request: Request,
    answer: impl AsyncFnOnce(Request) -> Response,
) -> Response {
    let id = tracing::enabled!(Level::INFO).then(Uuid::now_v7);
    let span = id.map_or_else(Span::none, |id| {
        let trace_id =
            trace_of(request.headers()).map(|trace| tracing::field::display(trace.trace_id()));
        // Without the query string, which may contain private data.
        tracing::info_span!(
            "request", %id, method = %request.method(), path = request.uri().path(),
            client = %client(request.extensions()).shown(), trace_id
        )
    });
    let begun = Instant::now();
    let mut response = answer(request).instrument(span.clone()).await;
    let (status, took) = (response.status(), begun.elapsed());
    span.in_scope(|| {
        if status.is_server_error() {
            tracing::warn!(status = status.as_u16(), ?took, "answered");
        } else {
            tracing::debug!(status = status.as_u16(), ?took, "answered");
        }
    });
    if let Some(Ok(id)) = id.map(|id| HeaderValue::try_from(id.to_string())) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// Turns a panic in a handler into a 500; the server and its other requests go on.
pub(super) fn panicked(panic: &(dyn Any + Send)) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(message, "a request panicked");
    Problem::internal().into_response()
}
