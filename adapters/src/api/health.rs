//! `GET /health/live` and `GET /health/ready`: for supervisors and load balancers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use doorstep_domain::ports::Readiness;
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

/// Finds out whether the node is ready: the store answers and the node is not stopping.
#[derive(Clone)]
pub struct HealthProbes {
    store: Arc<dyn Readiness>,
    stopping: CancellationToken,
    was_ready: Arc<AtomicBool>,
}

impl HealthProbes {
    /// Asks this store, until the node stops.
    pub fn new(store: Arc<dyn Readiness>, stopping: CancellationToken) -> Self {
        Self { store, stopping, was_ready: Arc::default() }
    }

    /// Whether the node is ready now; an error says why not.
    async fn check(&self) -> Result<(), Problem> {
        if self.stopping.is_cancelled() {
            return Err(Problem::try_later("this node is stopping"));
        }
        match tokio::time::timeout(PATIENCE, self.store.check()).await {
            Ok(checked) => Ok(checked?),
            Err(_) => Err(Problem::try_later("the store does not answer")),
        }
    }

    /// Checks, and remembers the result for [`was_ready`](Self::was_ready).
    #[cfg(feature = "metrics")]
    pub(super) async fn look(&self) {
        self.was_ready.store(self.check().await.is_ok(), Relaxed);
    }

    /// Whether the node was ready when `/metrics` was asked last.
    pub fn was_ready(&self) -> bool {
        self.was_ready.load(Relaxed)
    }
}

/// The routes.
pub fn router(probes: HealthProbes) -> Router {
    Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .with_state(probes)
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
}

fn states() -> Schema {
    one_of(&["live", "ready"])
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
        (status = 200, description = "It is ready.", body = HealthBody),
        (status = 503, description = "The node is stopping, or the store does not answer or accepts no writes.",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn ready(State(health): State<HealthProbes>) -> Result<Json<Value>, Problem> {
    health.check().await?;
    Ok(Json(json!({"status": "ready"})))
}
