use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use doorstep_application::NotAuthenticated;
use doorstep_domain::ports::StoreError;
use problem_details::ProblemDetails;
use serde::Serialize;
use utoipa::openapi::schema::Schema;

use super::openapi::one_of;

/// An error response: `application/problem+json` (RFC 9457).
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    errors: Vec<FieldError>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// One field or parameter at fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// The part of the request that contains it.
    #[schema(schema_with = places)]
    #[serde(rename = "in")]
    pub place: &'static str,
    /// Its name.
    pub field: String,
    /// What is wrong, or what it must be.
    pub detail: String,
}

fn places() -> Schema {
    one_of(&["body", "query", "path", "header"])
}

/// The members of a problem beyond those of the RFC.
#[derive(Serialize)]
struct Extensions {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

impl Problem {
    /// A problem with this status and a sentence about what is wrong.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { status, detail, errors: Vec::new(), headers: Vec::new() }
    }

    /// Adds a header.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Adds the fields at fault.
    pub fn with_errors(self, errors: Vec<FieldError>) -> Self {
        Self { errors, ..self }
    }

    /// 422: these fields are at fault.
    pub fn fields(errors: Vec<FieldError>) -> Self {
        let detail = "some fields are invalid";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with_errors(errors)
    }

    /// 401: the request has no token, or more than one.
    pub fn no_token() -> Self {
        let detail = "this needs one `Authorization: Bearer` header with a token";
        Self::unauthorized(detail, "Bearer")
    }

    /// 401: the token is unknown, expired or signed out.
    pub fn dead_token() -> Self {
        let detail = "the token is unknown, expired or signed out";
        Self::unauthorized(detail, r#"Bearer error="invalid_token""#)
    }

    /// 401: a service key instead of a user's token.
    pub(crate) fn key_for_token() -> Self {
        let detail = "this is a service key; a user's token belongs here";
        Self::unauthorized(detail, r#"Bearer error="invalid_token""#)
    }

    /// 401: the token is not a valid service key.
    #[cfg(feature = "publish")]
    pub(crate) fn no_service_key() -> Self {
        let detail = "this needs a service key, and the given one is not valid here";
        Self::unauthorized(detail, r#"Bearer error="invalid_token""#)
    }

    /// 401 with its challenge (RFC 6750 section 3).
    pub(crate) fn unauthorized(detail: &str, challenge: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, detail)
            .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }

    /// 429: too many requests from one address.
    pub fn too_many(retry_after: Duration) -> Self {
        let detail = "too many requests from this address";
        Self::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(retry_after)
    }

    /// 503: the request may succeed later.
    pub fn try_later(detail: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(Duration::from_secs(1))
    }

    /// 405 for HEAD on a stream: a HEAD would begin the stream that it asks about.
    #[cfg(feature = "sse")]
    pub(crate) fn no_head() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "a stream does not support HEAD: use GET")
            .with_header(header::ALLOW, HeaderValue::from_static("GET"))
    }

    /// 500: an internal error. The log has the details.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "something went wrong in the server")
    }

    fn retry_after(self, wait: Duration) -> Self {
        // Rounded up, because a client that comes back too early is refused again.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.with_header(header::RETRY_AFTER, seconds.max(1).into())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = ProblemDetails::from_status_code(self.status)
            .with_detail(self.detail)
            .with_extensions(Extensions { errors: self.errors })
            .into_response();
        response.headers_mut().extend(self.headers);
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if matches!(error, StoreError::Unavailable(_)) {
            tracing::warn!(%error, "answered 503");
            return Self::try_later("the store is unavailable; try again soon");
        }
        tracing::error!(%error, "answered 500");
        Self::internal()
    }
}

impl From<NotAuthenticated> for Problem {
    fn from(error: NotAuthenticated) -> Self {
        match error {
            NotAuthenticated::Store(error) => error.into(),
            NotAuthenticated::KeysAway { retry_after } => {
                let detail = "the token cannot be checked now: its key is being fetched";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(retry_after)
            }
        }
    }
}
