//! `GET /metrics`: the node's metrics, for Prometheus.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

use utoipa::OpenApi;

use super::health::HealthProbes;
use crate::http::{Parameters, Problem};
use crate::metrics::{CONTENT_TYPE, Metrics};

/// The route. Each scrape asks whether the node is ready.
pub fn router(metrics: Arc<Metrics>, probes: HealthProbes) -> Router {
    Router::new().route("/metrics", get(text)).with_state((metrics, probes))
}

/// The same for holders of a service key, wherever `/metrics` is served. The caller adds the check of the key.
///
/// Pages of this node use it: another address would be another origin.
pub fn router_for_operators(metrics: Arc<Metrics>, probes: HealthProbes) -> Router {
    Router::new().route("/v1/metrics", get(text_for_operators)).with_state((metrics, probes))
}

/// How the family is described in `/openapi.json`.
#[derive(OpenApi)]
#[openapi(paths(text))]
pub struct Description;

/// How the route for operators is described.
#[derive(OpenApi)]
#[openapi(paths(text_for_operators))]
pub struct DescriptionForOperators;

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

/// The node's metrics, for the operator's page
///
/// The same as `/metrics`, which may be served at another address.
#[utoipa::path(
    get, path = "/v1/metrics", tag = "node", security(("service_key" = [])),
    responses((status = 200, description = "The metrics.", body = String, content_type = "text/plain")),
)]
async fn text_for_operators(
    state: State<(Arc<Metrics>, HealthProbes)>,
    query: Parameters,
) -> Result<impl IntoResponse, Problem> {
    query.read(|_| ())?;
    text(state).await
}
