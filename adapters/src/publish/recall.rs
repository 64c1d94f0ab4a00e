//! `DELETE /v1/notifications/{id}` and `DELETE /v1/notifications?user_id&topic`.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use doorstep_application::delivery::Recall;
use doorstep_domain::{NotificationId, Topic, UserId};
use serde::Serialize;
use utoipa::ToSchema;

use super::PublishApi;
use super::notifications::states;
use crate::http::openapi::ProblemBody;
use crate::http::{Parameters, Problem, private_json};

/// What is known of a recalled notification.
#[derive(Serialize, ToSchema)]
#[schema(as = Recall)]
pub(super) struct RecallBody {
    #[schema(format = "uuid")]
    id: String,
    /// `recalled`, or the outcome that it had before.
    #[schema(schema_with = states)]
    state: &'static str,
    /// False is a guarantee that no connection was ever handed it. True means that one was, or that this is not known
    /// any more.
    pushed: bool,
}

/// How many notifications were recalled.
#[derive(Serialize, ToSchema)]
#[schema(as = RecallCount)]
pub(super) struct RecallCountBody {
    recalled: usize,
}

/// Recall a notification
///
/// Ends it if it has not ended, tells clients that may show it to take it away, and removes it from the inbox, or from
/// the outbox if no node has taken it from there. A repeat gets the same response.
#[utoipa::path(
    delete, path = "/v1/notifications/{id}", tag = "publish", security(("service_key" = [])),
    params(("id" = String, Path, description = "The notification's id.")),
    responses(
        (status = 200, description = "It is recalled, or had ended before.", body = RecallBody),
        (status = 404, description = "The notification is unknown, or no longer known.",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn one(
    State(api): State<Arc<PublishApi>>,
    id: Result<Path<String>, PathRejection>,
    query: Parameters,
) -> Result<Response, Problem> {
    query.read(|_| ())?;
    let unknown = || {
        let detail = "no notification of this id is known here";
        Problem::new(StatusCode::NOT_FOUND, detail)
    };
    let id: Option<NotificationId> = id.ok().and_then(|Path(id)| id.parse().ok());
    let id = id.ok_or_else(unknown)?;
    let recalls = api.recalls.clone();
    let recall = super::to_its_end(async move { recalls.one(id).await }).await;
    let recall = recall.map_err(|_| Problem::internal())??;
    let Recall { outcome, pushed } = recall.ok_or_else(unknown)?;
    Ok(private_json(&RecallBody { id: id.to_string(), state: outcome.as_str(), pushed }))
}

/// Recall all notifications of a user
///
/// Everything that has not ended, in flight included; or only what has this topic.
#[utoipa::path(
    delete, path = "/v1/notifications", tag = "publish", security(("service_key" = [])),
    params(
        ("user_id" = String, Query, description = "The user.", min_length = 1, max_length = 128),
        ("topic" = Option<String>, Query, description = "Only this topic.", pattern = "^[!-~]{1,64}$"),
    ),
    responses((status = 200, description = "They are recalled.", body = RecallCountBody)),
)]
pub(super) async fn many(
    State(api): State<Arc<PublishApi>>,
    query: Parameters,
) -> Result<Response, Problem> {
    let (user, topic) = query.read(|query| {
        if !query.has("user_id") {
            query.fault("user_id", "missing");
        }
        (query.parsed::<UserId>("user_id"), query.parsed::<Topic>("topic"))
    })?;
    let user = user.ok_or_else(Problem::internal)?;
    let recalls = api.recalls.clone();
    let recall = async move { recalls.all(&user, topic.as_ref()).await };
    let recalled = super::to_its_end(recall).await.map_err(|_| Problem::internal())??;
    Ok(private_json(&RecallCountBody { recalled }))
}
