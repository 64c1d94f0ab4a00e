//! The publish API: what a backend that is not in this process can do, with a service key.
//!
//! | call | answers |
//! | --- | --- |
//! | `POST /v1/notifications?wait` one, or an array of up to 1,000 | 202 with what became of each at once |
//! | `GET /v1/notifications/{id}?wait` | its state, or its outcome for an hour after the end |
//! | `GET /v1/users/{user_id}/presence` | whether the user is there |
//! | `POST /v1/presence` | the same for up to 1,000 users |

mod auth;
mod body;
mod notifications;
mod presence;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use doorstep_application::publishing::{Publishing, ServiceKeys};
use doorstep_domain::{Payload, Ttl};
use utoipa::OpenApi;

use crate::http::LargeBodies;

/// How many notifications, or users, one request may be about.
pub const MAX_BATCH: usize = 1000;

/// The largest body: a thousand of the largest payloads and what stands around them.
const MAX_BODY_BYTES: usize = MAX_BATCH * (Payload::MAX_BYTES + 1024);

/// How many large bodies are in memory at a time: what a thousand publishers send at once must fit.
const LARGE_AT_ONCE: usize = 8;

/// What the API is built from.
#[derive(Clone)]
pub struct PublishParts {
    /// What a backend can do.
    pub publishing: Publishing,
    /// Who may.
    pub keys: Arc<ServiceKeys>,
    /// The longest TTL that is taken.
    pub max_ttl: Ttl,
    /// Whether there is an inbox: without one its policy cannot be wanted.
    pub inbox: bool,
}

/// How the API is described in `/openapi.json`.
#[derive(OpenApi)]
#[openapi(paths(
    notifications::publish,
    notifications::look_up,
    presence::of_one,
    presence::of_many
))]
pub struct Description;

#[derive(Clone)]
struct PublishApi {
    publishing: Publishing,
    max_ttl: Ttl,
    inbox: bool,
    large: LargeBodies,
}

/// The routes.
pub fn router(parts: PublishParts) -> Router {
    let PublishParts { publishing, keys, max_ttl, inbox } = parts;
    let large = LargeBodies::new(LARGE_AT_ONCE, MAX_BODY_BYTES);
    let publish = post(notifications::publish);
    let presence = post(presence::of_many)
        // Ids of 128 bytes that are escaped all through, and what stands around them.
        .route_layer(DefaultBodyLimit::max(MAX_BATCH * 800));
    let routes = Router::new()
        .route("/v1/notifications", publish)
        .route("/v1/notifications/{id}", get(notifications::look_up))
        .route("/v1/users/{user_id}/presence", get(presence::of_one))
        .route("/v1/presence", presence)
        .with_state(PublishApi { publishing, max_ttl, inbox, large });
    auth::with_key(routes, keys)
}

/// `?wait=SECONDS`.
fn wait(query: crate::http::Parameters) -> Result<Duration, crate::http::Problem> {
    let longest = usize::try_from(Publishing::MAX_WAIT.as_secs()).unwrap_or(usize::MAX);
    let seconds = query.read(|query| query.number("wait", 0..=longest, 0))?;
    Ok(Duration::from_secs(seconds.try_into().unwrap_or(0)))
}
