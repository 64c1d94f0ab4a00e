//! `GET /health/live` and `GET /health/ready`: for supervisors and load balancers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
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

    /// How ready the node is now; an error says why it is not.
    async fn check(&self) -> Result<Option<String>, Problem> {
        if self.stopping.is_cancelled() {
            return Err(Problem::try_later("this node is stopping"));
        }
        let checked = tokio::time::timeout(PATIENCE, self.store.check()).await;
        match checked.map_err(|_| Problem::try_later("the store does not answer"))?? {
            Ready::Fully => Ok(None),
            Ready::Degraded(why) => Ok(Some(why)),
            Ready::NotYet(why) => Err(Problem::try_later(&why)),
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
    Ok(Json(match health.check().await? {
        None => json!({"status": "ready"}),
        Some(why) => json!({"status": "degraded", "reason": why}),
    }))
}
