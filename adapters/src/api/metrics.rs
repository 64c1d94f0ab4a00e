//! `GET /metrics`: the node's metrics, for Prometheus.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

use utoipa::OpenApi;

use super::health::HealthProbes;
use crate::http::Problem;
use crate::metrics::{CONTENT_TYPE, Metrics};

/// The route. Each scrape asks whether the node is ready.
pub fn router(metrics: Arc<Metrics>, probes: HealthProbes) -> Router {
    Router::new().route("/metrics", get(text)).with_state((metrics, probes))
}

/// How the family is described in `/openapi.json`.
#[derive(OpenApi)]
#[openapi(paths(text))]
pub struct Description;

/// The node's metrics, for Prometheus
#[utoipa::path(
    get, path = "/metrics", tag = "node",
    responses((status = 200, description = "The metrics.", body = String, content_type = "text/plain")),
)]
async fn text(
    State((metrics, probes)): State<(Arc<Metrics>, HealthProbes)>,
) -> Result<impl IntoResponse, Problem> {
    probes.look().await;
    match metrics.text() {
        Ok(text) => Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text)),
        Err(error) => {
            tracing::error!(%error, "answered 500");
            Err(Problem::internal())
        }
    }
}
