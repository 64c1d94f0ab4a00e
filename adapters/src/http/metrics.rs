//! `GET /metrics`: the node's figures, for Prometheus.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

use super::Problem;
use crate::metrics::{CONTENT_TYPE, Metrics};

/// The route.
pub fn router(metrics: Arc<Metrics>) -> Router {
    Router::new().route("/metrics", get(text)).with_state(metrics)
}

async fn text(State(metrics): State<Arc<Metrics>>) -> Result<impl IntoResponse, Problem> {
    match metrics.text() {
        Ok(text) => Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text)),
        Err(error) => {
            tracing::error!(%error, "answered 500");
            Err(Problem::internal())
        }
    }
}
