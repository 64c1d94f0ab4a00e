//! `POST /v1/users`: registering.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::post;
use doorstep_application::Credentials;
use doorstep_application::registration::Registration;

use super::limit::within_limit;
use super::wire::SignedInBody;
use super::{AddressLimit, Fields, Problem};

/// The routes, with so many registrations an address.
pub fn router(registration: Registration, limit: AddressLimit) -> Router {
    let register = post(register).route_layer(from_fn_with_state(limit, within_limit));
    Router::new().route("/v1/users", register).with_state(registration)
}

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
