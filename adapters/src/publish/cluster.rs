//! `GET /v1/cluster`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::PublishApi;
use crate::http::{Parameters, Problem, private_json};

/// Says which nodes there are now.
pub type ClusterNodes = Arc<dyn Fn() -> ClusterOverview + Send + Sync>;

/// The nodes of a cluster, as the one that was asked knows them.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Cluster)]
pub struct ClusterOverview {
    /// The id of the node that was asked.
    pub node: String,
    /// All nodes that are there, this one first.
    pub nodes: Vec<NodeOverview>,
}

/// One node.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ClusterNode)]
pub struct NodeOverview {
    /// Another one after each start.
    pub id: String,
    /// The address on which it listens.
    pub name: String,
    /// The version of its program.
    pub version: String,
    /// `up_to_date`; `catching_up`: it has not yet read what the others have accepted; or `cut_off`: it cannot read the log.
    pub status: String,
    /// Entries of the log that it had still to read when it said so.
    pub lag_entries: u64,
    /// It makes the prices of the trading simulation, and closes what they cross. One node does.
    pub makes_prices: bool,
}

/// The nodes of the cluster
///
/// Each says once a second that it is there. One that has not for 3.5 seconds is gone.
#[utoipa::path(
    get, path = "/v1/cluster", tag = "publish", security(("service_key" = [])),
    responses(
        (status = 200, description = "The nodes that are there.", body = ClusterOverview),
        (status = 404, description = "This node is in no cluster.",
            body = crate::http::openapi::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn nodes(
    State(api): State<Arc<PublishApi>>,
    query: Parameters,
) -> Result<Response, Problem> {
    query.read(|_| ())?;
    let Some(nodes) = &api.cluster else {
        let detail = "this node is alone: its configuration has no [cluster]";
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    };
    Ok(private_json(&nodes()))
}
