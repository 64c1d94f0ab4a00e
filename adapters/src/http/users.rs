//! `POST /v1/users`: registering.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::post;
use doorstep_application::Credentials;
use doorstep_application::registration::Registration;

use utoipa::OpenApi;

use super::limit::within_limit;
use super::openapi::ProblemBody;
use super::wire::SignedInBody;
use super::{AddressLimit, Fields, Problem};

/// The routes, with so many registrations an address.
pub fn router(registration: Registration, limit: AddressLimit) -> Router {
    let register = post(register).route_layer(from_fn_with_state(limit, within_limit));
    Router::new().route("/v1/users", register).with_state(registration)
}

/// What a user signs in with.
#[derive(utoipa::ToSchema)]
#[schema(as = Credentials)]
#[expect(dead_code, reason = "the description of what `credentials` reads")]
pub(super) struct CredentialsBody {
    username: String,
    password: String,
}

/// How the family is described in `/openapi.json`.
#[derive(OpenApi)]
#[openapi(paths(register))]
pub struct Description;

/// Register
#[utoipa::path(
    post, path = "/v1/users", tag = "users", request_body = CredentialsBody,
    responses(
        (status = 201, description = "The user, signed in.", body = SignedInBody),
        (status = 409, description = "The name is taken.",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many from this address.",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn register(
    State(registration): State<Registration>,
    body: Fields,
) -> Result<impl IntoResponse, Problem> {
    let signed_in = registration.register(credentials(body)?).await?;
    Ok((StatusCode::CREATED, SignedInBody::from(signed_in)))
}

/// The body that registering and signing in share.
pub(crate) fn credentials(body: Fields) -> Result<Credentials, Problem> {
    body.read(|fields| Credentials {
        username: fields.text("username"),
        password: fields.text("password"),
    })
}
