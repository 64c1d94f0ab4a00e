//! `POST /v1/sessions` and `DELETE /v1/sessions/current`: signing in and out.

use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::{delete, post};
use axum::{Extension, Router};
use doorstep_application::Caller;
use doorstep_application::sign_ins::{SignInError, SignIns};

use utoipa::OpenApi;

use super::user_body::SignedInBody;
use super::users::{CredentialsBody, body_faults, credentials};
use crate::http::openapi::ProblemBody;
use crate::http::{AddressLimit, Fields, Parameters, Problem, signed_in, within_limit};

/// The routes. `limit` is the rate of sign-ins per address.
pub fn router(sign_ins: SignIns, limit: AddressLimit) -> Router {
    let sign_in = post(sign_in).route_layer(from_fn_with_state(limit, within_limit));
    let sign_out =
        Router::new().route("/v1/sessions/current", delete(sign_out)).with_state(sign_ins.clone());
    Router::new()
        .route("/v1/sessions", sign_in)
        .with_state(sign_ins.clone())
        .merge(signed_in(sign_out, sign_ins))
}

/// How the family is described in `/openapi.json`.
#[derive(OpenApi)]
#[openapi(paths(sign_in, sign_out))]
pub struct Description;

/// Sign in
#[utoipa::path(
    post, path = "/v1/sessions", tag = "users", request_body = CredentialsBody,
    responses(
        (status = 201, description = "The user, signed in.", body = SignedInBody),
        (status = 401, description = "The username or the password is wrong.",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many from this address.",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn sign_in(
    State(sign_ins): State<SignIns>,
    query: Parameters,
    body: Fields,
) -> Result<impl IntoResponse, Problem> {
    query.read(|_| ())?;
    let signed_in = sign_ins.sign_in(credentials(body)?).await?;
    Ok((StatusCode::CREATED, SignedInBody::from(signed_in)))
}

/// Sign out
#[utoipa::path(
    delete, path = "/v1/sessions/current", tag = "users", security(("token" = [])),
    responses((status = 204, description = "The token is no longer valid, and its connections are closed.")),
)]
async fn sign_out(
    State(sign_ins): State<SignIns>,
    Extension(caller): Extension<Caller>,
    query: Parameters,
) -> Result<StatusCode, Problem> {
    query.read(|_| ())?;
    sign_ins.sign_out(caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<SignInError> for Problem {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::Invalid(faults) => body_faults(faults),
            SignInError::Wrong => {
                let detail = "the username or the password is wrong";
                Self::unauthorized(detail, "Bearer")
            }
            SignInError::Busy => Self::try_later("too many sign-ins at once"),
            SignInError::Store(error) => error.into(),
        }
    }
}
