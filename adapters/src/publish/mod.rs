//! The publish API for backends outside this process, with a service key.
//!
//! | call | response |
//! | --- | --- |
//! | `POST /v1/notifications?wait` one, or an array of up to 1,000 | 202 with the state of each |
//! | `GET /v1/notifications/{id}?wait` | its state, or its outcome until an hour after the end |
//! | `GET /v1/users/{user_id}/presence` | whether the user is connected |
//! | `DELETE /v1/notifications/{id}` | recalls it |
//! | `DELETE /v1/notifications?user_id&topic` | recalls everything of a user that has not ended |
//! | `GET /v1/notifications/{id}/story` | what happened to it, step by step |
//! | `GET /v1/users/{user_id}/story` | the same of a user's notifications |
//! | `GET /v1/users/{user_id}` | connections, and how much waits, is in flight and is unread |
//! | `DELETE /v1/users/{user_id}/connections` | closes the user's connections |
//! | `POST /v1/presence` | whether up to 1,000 users are connected |
//! | `GET /v1/cluster` | the nodes of the cluster |

mod auth;
#[cfg(test)]
mod bodies_of_strangers;
mod body;
mod cluster;
mod notifications;
mod presence;
mod recall;
mod stories;
mod users;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, post};
use doorstep_application::publishing::{Publishing, ServiceKeys};
use doorstep_application::recalls::Recalls;
use doorstep_application::stories::Stories;
use doorstep_domain::{Payload, Ttl};
use tokio::task::JoinError;
use tracing::Instrument as _;
use utoipa::OpenApi;

pub use self::auth::with_key;
use crate::http::LargeBodies;

pub use self::cluster::{ClusterNodes, ClusterOverview, NodeOverview};

/// The most notifications, or users, in one request.
pub const MAX_BATCH: usize = 1000;

/// The largest body: a thousand of the largest payloads and their other members.
const MAX_BODY_BYTES: usize = MAX_BATCH * (Payload::MAX_BYTES + 1024);

/// How many large bodies are in memory at a time, because a thousand publishers may send at once.
const LARGE_AT_ONCE: usize = 8;

/// What the API is built from.
#[derive(Clone)]
pub struct PublishParts {
    /// Publishes, and answers questions about notifications and presence.
    pub publishing: Publishing,
    /// Takes back what was published.
    pub recalls: Recalls,
    /// The service keys that are accepted.
    pub keys: Arc<ServiceKeys>,
    /// What happened to notifications, if that is remembered.
    pub stories: Option<Arc<Stories>>,
    /// The longest TTL that is accepted.
    pub max_ttl: Ttl,
    /// The nodes of the cluster, if this node is in one.
    pub cluster: Option<ClusterNodes>,
    /// Whether there is an inbox; without one, the policy `inbox` is refused.
    pub inbox: bool,
}

/// How the API is described in `/openapi.json`.
#[derive(OpenApi)]
#[openapi(paths(
    notifications::publish,
    notifications::look_up,
    presence::of_one,
    presence::of_many,
    recall::one,
    recall::many,
    stories::of_notification,
    stories::of_user,
    users::overview,
    users::disconnect,
    cluster::nodes
))]
pub struct Description;

struct PublishApi {
    publishing: Publishing,
    recalls: Recalls,
    stories: Option<Arc<Stories>>,
    max_ttl: Ttl,
    inbox: bool,
    large: LargeBodies,
    cluster: Option<ClusterNodes>,
}

/// The routes.
pub fn router(parts: PublishParts) -> Router {
    let PublishParts { publishing, recalls, keys, stories, max_ttl, inbox, cluster } = parts;
    let large = LargeBodies::new(LARGE_AT_ONCE, MAX_BODY_BYTES);
    let publish = post(notifications::publish);
    let presence = post(presence::of_many)
        // Room for ids of 128 bytes, each byte escaped, and the JSON around them.
        .route_layer(DefaultBodyLimit::max(MAX_BATCH * 800));
    let routes = Router::new()
        .route("/v1/notifications", publish.delete(recall::many))
        .route("/v1/notifications/{id}", get(notifications::look_up).delete(recall::one))
        .route("/v1/notifications/{id}/story", get(stories::of_notification))
        .route("/v1/users/{user_id}", get(users::overview))
        .route("/v1/users/{user_id}/story", get(stories::of_user))
        .route("/v1/users/{user_id}/connections", delete(users::disconnect))
        .route("/v1/users/{user_id}/presence", get(presence::of_one))
        .route("/v1/presence", presence)
        .route("/v1/cluster", get(cluster::nodes))
        .with_state(Arc::new(PublishApi {
            publishing,
            recalls,
            stories,
            max_ttl,
            inbox,
            large,
            cluster,
        }));
    with_key(routes, keys)
}

/// Runs the work to its end, even if the client disconnects: otherwise half of an array, or an inbox item that
/// nobody was told about, would be left behind. Work that never waits, like all that does not use the inbox, runs
/// in place; other work gets a task of its own.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, JoinError> {
    let mut work = Box::pin(work.in_current_span());
    match poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await {
        Poll::Ready(done) => Ok(done),
        Poll::Pending => tokio::spawn(work).await,
    }
}

/// `?wait=SECONDS`.
fn wait(query: crate::http::Parameters) -> Result<Duration, crate::http::Problem> {
    let longest = usize::try_from(Publishing::MAX_WAIT.as_secs()).unwrap_or(usize::MAX);
    let seconds = query.read(|query| query.number("wait", 0..=longest, 0))?;
    Ok(Duration::from_secs(seconds.try_into().unwrap_or(0)))
}
