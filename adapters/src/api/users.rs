//! `POST /v1/users`: registering.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::post;
use doorstep_application::registration::{Registration, RegistrationError};
use doorstep_application::{Credentials, FieldFault};

use utoipa::OpenApi;

use super::user_body::SignedInBody;
use crate::http::openapi::ProblemBody;
use crate::http::{AddressLimit, FieldError, Fields, Parameters, Problem, within_limit};

/// The routes. `limit` is the rate of registrations per address.
pub fn router(registration: Registration, limit: AddressLimit) -> Router {
    let register = post(register).route_layer(from_fn_with_state(limit, within_limit));
    Router::new().route("/v1/users", register).with_state(registration)
}

/// A username and a password.
#[derive(utoipa::ToSchema)]
#[schema(as = Credentials)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the description of what `credentials` reads")]
pub(super) struct CredentialsBody {
    #[schema(min_length = 1, max_length = 32)]
    username: String,
    /// At least 8 characters when registering.
    #[schema(min_length = 1, max_length = 128)]
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
    query: Parameters,
    body: Fields,
) -> Result<impl IntoResponse, Problem> {
    query.read(|_| ())?;
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

/// 422 with the fields in which the application found faults.
pub(super) fn body_faults(faults: Vec<FieldFault>) -> Problem {
    let error = |fault: FieldFault| FieldError {
        place: "body",
        field: fault.field.into(),
        detail: fault.detail,
    };
    Problem::fields(faults.into_iter().map(error).collect())
}

impl From<RegistrationError> for Problem {
    fn from(error: RegistrationError) -> Self {
        match error {
            RegistrationError::Invalid(faults) => body_faults(faults),
            RegistrationError::UsernameTaken => {
                let error = FieldError {
                    place: "body",
                    field: "username".into(),
                    detail: "somebody already has this name".into(),
                };
                Self::new(StatusCode::CONFLICT, "the username is taken").with_errors(vec![error])
            }
            RegistrationError::Busy => Self::try_later("too many registrations at once"),
            RegistrationError::Store(error) => error.into(),
        }
    }
}
