//! `GET /v1/users/{user_id}` and `DELETE /v1/users/{user_id}/connections`.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use doorstep_application::publishing::Overview;
use doorstep_domain::{UserId, UserIdError};
use serde::Serialize;
use utoipa::ToSchema;

use super::PublishApi;
use crate::http::{FieldError, Parameters, Problem, private_json};

/// What the node knows of a user.
#[derive(Serialize, ToSchema)]
#[schema(as = UserOverview)]
pub(super) struct UserOverviewBody {
    user_id: String,
    /// Whether the user has a connection.
    online: bool,
    /// How many connections.
    connections: usize,
    /// Notifications that wait in memory.
    waiting: usize,
    /// Notifications whose acknowledgement is awaited.
    in_flight: usize,
    /// Unread items of the inbox.
    unread: u64,
}

/// How many connections were closed.
#[derive(Serialize, ToSchema)]
#[schema(as = ClosedConnections)]
pub(super) struct ClosedConnectionsBody {
    closed: usize,
}

/// What is known of a user
#[utoipa::path(
    get, path = "/v1/users/{user_id}", tag = "publish", security(("service_key" = [])),
    params(("user_id" = String, Path, description = "The user, percent-encoded.")),
    responses((status = 200, description = "What this node knows.", body = UserOverviewBody)),
)]
pub(super) async fn overview(
    State(api): State<Arc<PublishApi>>,
    user_id: Result<Path<String>, PathRejection>,
    query: Parameters,
) -> Result<Response, Problem> {
    query.read(|_| ())?;
    let user = user_in_path(user_id)?;
    let Overview { online, connections, waiting, in_flight, unread } =
        api.publishing.overview(&user).await?;
    let user_id = user.to_string();
    Ok(private_json(&UserOverviewBody { user_id, online, connections, waiting, in_flight, unread }))
}

/// Disconnect a user
///
/// Closes all connections of the user with 4403. `doorstep.js` does not come back by itself.
#[utoipa::path(
    delete, path = "/v1/users/{user_id}/connections", tag = "publish", security(("service_key" = [])),
    params(("user_id" = String, Path, description = "The user, percent-encoded.")),
    responses((status = 200, description = "They are closed.", body = ClosedConnectionsBody)),
)]
pub(super) async fn disconnect(
    State(api): State<Arc<PublishApi>>,
    user_id: Result<Path<String>, PathRejection>,
    query: Parameters,
) -> Result<Response, Problem> {
    query.read(|_| ())?;
    let closed = api.publishing.disconnect(&user_in_path(user_id)?);
    Ok(private_json(&ClosedConnectionsBody { closed }))
}

pub(super) fn user_in_path(
    user_id: Result<Path<String>, PathRejection>,
) -> Result<UserId, Problem> {
    let fault = |detail: String| {
        Problem::fields(vec![FieldError { place: "path", field: "user_id".into(), detail }])
    };
    let Path(user_id) = user_id.map_err(|_| fault("must be UTF-8".to_owned()))?;
    user_id.parse().map_err(|e: UserIdError| fault(e.to_string()))
}
