use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use tower_service::Service as _;

use super::{MAX_BODY_BYTES, Problem, ResponseCounts, message, observe};

/// All endpoint families, with what they share: a problem for every error, a limit on bodies, 500 for panics, a
/// request id, and the requirements of RFC 9112 on messages.
///
/// Not layers of the router: each layer costs every request two allocations, and these are needed by all routes.
#[derive(Debug, Clone)]
pub struct Endpoints {
    router: Router,
    responses: Arc<ResponseCounts>,
}

impl Endpoints {
    /// Takes all routes.
    pub fn new(families: Router) -> Self {
        let router = families.fallback(unknown_path).method_not_allowed_fallback(wrong_method);
        Self { router, responses: Arc::default() }
    }

    /// Handles one request.
    pub async fn answer(&self, request: Request) -> Response {
        let answer = async |request| self.answer_well_formed(request).await;
        let response = observe::observe(request, answer).await;
        self.responses.count(response.status());
        response
    }

    /// How it has answered so far.
    pub fn responses(&self) -> Arc<ResponseCounts> {
        self.responses.clone()
    }

    async fn answer_well_formed(&self, mut request: Request) -> Response {
        if let Err(problem) = message::check(&request) {
            let mut response = problem.into_response();
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            return response;
        }
        // A route may set a limit of its own.
        DefaultBodyLimit::max(MAX_BODY_BYTES).apply(&mut request);
        // A router is always ready, as its documentation says.
        match AssertUnwindSafe(self.router.clone().call(request)).catch_unwind().await {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(panic) => observe::panicked(&*panic),
        }
    }
}

async fn unknown_path(uri: Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at {}", uri.path()))
}

pub(super) async fn wrong_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("{} does not support {method}", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}
