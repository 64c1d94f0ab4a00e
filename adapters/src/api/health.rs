//! `GET /health/live` and `GET /health/ready`: for supervisors and load balancers.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use doorstep_domain::ports::{Readiness, Ready};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use utoipa::OpenApi;
use utoipa::openapi::schema::Schema;

use crate::http::Problem;
use crate::http::openapi::{ProblemBody, one_of};

/// The prefix of this family's paths.
pub const PATHS: &str = "/health/";

/// How long the store may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone)]
struct HealthProbes {
    store: Arc<dyn Readiness>,
    stopping: CancellationToken,
}

/// The routes. Ready means: the store answers and the node is not stopping.
pub fn router(store: Arc<dyn Readiness>, stopping: CancellationToken) -> Router {
    Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .with_state(HealthProbes { store, stopping })
}

/// How the family is described in `/openapi.json`.
#[derive(OpenApi)]
#[openapi(paths(live, ready))]
pub struct Description;

/// The result of a probe.
#[derive(utoipa::ToSchema)]
#[schema(as = Health)]
#[expect(dead_code, reason = "the description of a literal")]
struct HealthBody {
    #[schema(schema_with = states)]
    status: String,
    /// Why it is degraded.
    #[schema(required = false)]
    reason: Option<String>,
}

fn states() -> Schema {
    one_of(&["live", "ready", "degraded"])
}

/// Whether the process is alive
#[utoipa::path(
    get, path = "/health/live", tag = "node",
    responses((status = 200, description = "It is alive.", body = HealthBody)),
)]
async fn live() -> Json<Value> {
    Json(json!({"status": "live"}))
}

/// Whether the node is ready
#[utoipa::path(
    get, path = "/health/ready", tag = "node",
    responses(
        (status = 200, description = "It is ready; or degraded: cut off from the other nodes, it serves what it knows.",
            body = HealthBody),
        (status = 503, description = "The node is stopping, has not read yet what other nodes have accepted, or the store does not answer \
                or accepts no writes.",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn ready(State(health): State<HealthProbes>) -> Result<Json<Value>, Problem> {
    if health.stopping.is_cancelled() {
        return Err(Problem::try_later("this node is stopping"));
    }
    let checked = tokio::time::timeout(PATIENCE, health.store.check()).await;
    match checked.map_err(|_| Problem::try_later("the store does not answer"))?? {
        Ready::Fully => Ok(Json(json!({"status": "ready"}))),
        Ready::Degraded(why) => Ok(Json(json!({"status": "degraded", "reason": why}))),
        Ready::NotYet(why) => Err(Problem::try_later(&why)),
    }
}
