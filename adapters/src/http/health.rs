//! `GET /health/live` and `GET /health/ready`: for whoever starts and stops this process.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use doorstep_domain::ports::Readiness;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::Problem;

/// A store that needs longer than this for a sign of life has none.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone)]
struct Health {
    store: Arc<dyn Readiness>,
    stopping: CancellationToken,
}

/// The routes. Ready is who has a store and is not about to stop.
pub fn router(store: Arc<dyn Readiness>, stopping: CancellationToken) -> Router {
    Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .with_state(Health { store, stopping })
}

async fn live() -> Json<Value> {
    Json(json!({"status": "live"}))
}

async fn ready(State(health): State<Health>) -> Result<Json<Value>, Problem> {
    if health.stopping.is_cancelled() {
        return Err(Problem::try_later("this node is stopping"));
    }
    match tokio::time::timeout(PATIENCE, health.store.check()).await {
        Ok(checked) => checked?,
        Err(_) => return Err(Problem::try_later("the store does not answer")),
    }
    Ok(Json(json!({"status": "ready"})))
}
