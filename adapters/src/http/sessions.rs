//! `POST /v1/sessions` and `DELETE /v1/sessions/current`: signing in and out.

use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::{delete, post};
use axum::{Extension, Router};
use doorstep_application::Caller;
use doorstep_application::sign_ins::SignIns;

use super::limit::within_limit;
use super::users::credentials;
use super::wire::SignedInBody;
use super::{AddressLimit, Fields, Problem, signed_in};

/// The routes, with so many sign-ins an address.
pub fn router(sign_ins: SignIns, limit: AddressLimit) -> Router {
    let sign_in = post(sign_in).route_layer(from_fn_with_state(limit, within_limit));
    let sign_out =
        Router::new().route("/v1/sessions/current", delete(sign_out)).with_state(sign_ins.clone());
    Router::new()
        .route("/v1/sessions", sign_in)
        .with_state(sign_ins.clone())
        .merge(signed_in(sign_out, sign_ins))
}

async fn sign_in(
    State(sign_ins): State<SignIns>,
    body: Fields,
) -> Result<impl IntoResponse, Problem> {
    let signed_in = sign_ins.sign_in(credentials(body)?).await?;
    Ok((StatusCode::CREATED, SignedInBody::from(signed_in)))
}

async fn sign_out(
    State(sign_ins): State<SignIns>,
    Extension(caller): Extension<Caller>,
) -> Result<StatusCode, Problem> {
    sign_ins.sign_out(caller).await?;
    Ok(StatusCode::NO_CONTENT)
}
