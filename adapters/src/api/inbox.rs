//! `GET /v1/inbox`, `POST /v1/inbox/{id}/read` and `POST /v1/inbox/read`: notifications that are kept until they
//! are read.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Extension, Router};
use doorstep_application::inbox::{InboxPage, InboxViews};
use doorstep_application::{Authenticator, Caller};
use doorstep_domain::NotificationId;
use doorstep_domain::ports::{InboxItem, Which};
use serde::Serialize;
use serde_json::value::RawValue;

use utoipa::{OpenApi, ToSchema};

use crate::http::openapi::ProblemBody;
use crate::http::{Parameters, Problem, private_json, rfc3339, signed_in};

/// The routes.
pub fn router(views: InboxViews, authenticator: impl Into<Arc<dyn Authenticator>>) -> Router {
    let routes = Router::new()
        .route("/v1/inbox", get(page))
        .route("/v1/inbox/read", post(read_all))
        .route("/v1/inbox/{id}/read", post(read_one))
        .with_state(views);
    signed_in(routes, authenticator)
}

/// The notifications per page, unless the client asks for another number.
const PAGE: usize = 50;

/// How the family is described in `/openapi.json`.
#[derive(OpenApi)]
#[openapi(paths(page, read_one, read_all))]
pub struct Description;

/// Your inbox
#[utoipa::path(
    get, path = "/v1/inbox", tag = "users", security(("token" = [])),
    params(
        ("unread" = Option<bool>, Query, description = "Only unread notifications."),
        ("limit" = Option<u32>, Query, description = "The most notifications to return.", minimum = 1, maximum = 100),
        ("before" = Option<String>, Query, format = "uuid", description = "Older than this one: the `next` of a page."),
    ),
    responses((status = 200, description = "A page.", body = InboxBody)),
)]
async fn page(
    State(views): State<InboxViews>,
    Extension(caller): Extension<Caller>,
    query: Parameters,
) -> Result<impl IntoResponse, Problem> {
    let (unread, limit, before) = query.read(|query| {
        let unread = query.word("unread", &[("true", true), ("false", false)]);
        let limit = query.number("limit", 1..=InboxViews::MAX_PAGE, PAGE);
        (unread.unwrap_or(false), limit, query.id("before"))
    })?;
    let before = before.map(NotificationId::new);
    let InboxPage { items, next } = views.page(&caller.user_id, unread, before, limit).await?;
    let notifications = items.iter().map(InboxItemBody::new).collect::<Result<_, _>>()?;
    Ok(private_json(&InboxBody { notifications, next: next.map(|id| id.to_string()) }))
}

/// Mark one notification as read
#[utoipa::path(
    post, path = "/v1/inbox/{id}/read", tag = "users", security(("token" = [])),
    params(("id" = String, Path, description = "The notification.")),
    responses(
        (status = 204, description = "It is read."),
        (status = 404, description = "The inbox has no such notification.", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn read_one(
    State(views): State<InboxViews>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    query: Parameters,
) -> Result<StatusCode, Problem> {
    query.read(|_| ())?;
    // An invalid id belongs to no notification.
    let read = match id.parse::<NotificationId>() {
        Ok(id) => views.read(&caller.user_id, Which::One(id)).await?,
        Err(_) => false,
    };
    if read {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::new(StatusCode::NOT_FOUND, "your inbox has no such notification"))
}

/// Mark all notifications as read
#[utoipa::path(
    post, path = "/v1/inbox/read", tag = "users", security(("token" = [])),
    responses((status = 204, description = "They are read.")),
)]
async fn read_all(
    State(views): State<InboxViews>,
    Extension(caller): Extension<Caller>,
    query: Parameters,
) -> Result<StatusCode, Problem> {
    query.read(|_| ())?;
    views.read(&caller.user_id, Which::All).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A page of the inbox, newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = Inbox)]
struct InboxBody<'a> {
    notifications: Vec<InboxItemBody<'a>>,
    /// The `before` of the next page; null on the last.
    #[schema(required)]
    next: Option<String>,
}

/// A notification as it is pushed, and whether it has been read.
#[derive(Serialize, ToSchema)]
#[schema(as = InboxItem)]
struct InboxItemBody<'a> {
    id: String,
    kind: &'a str,
    #[schema(required)]
    topic: Option<&'a str>,
    #[schema(format = "date-time")]
    created_at: String,
    #[schema(value_type = serde_json::Value)]
    payload: &'a RawValue,
    #[schema(format = "date-time", required)]
    read_at: Option<String>,
}

impl<'a> InboxItemBody<'a> {
    fn new(item: &'a InboxItem) -> Result<Self, Problem> {
        let notification = &item.notification;
        let payload = serde_json::from_str(notification.payload.as_str()).map_err(|error| {
            tracing::error!(notification = %notification.id, %error, "a payload is not JSON");
            Problem::internal()
        })?;
        Ok(Self {
            id: notification.id.to_string(),
            kind: notification.kind.as_str(),
            topic: notification.topic.as_ref().map(doorstep_domain::Topic::as_str),
            created_at: rfc3339(notification.created_at),
            payload,
            read_at: item.read_at.map(rfc3339),
        })
    }
}
