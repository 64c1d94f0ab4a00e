//! `GET /v1/inbox`, `POST /v1/inbox/{id}/read` and `POST /v1/inbox/read`: what is kept until it is read.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Extension, Router};
use doorstep_application::Caller;
use doorstep_application::inbox::{InboxPage, InboxViews};
use doorstep_application::sign_ins::SignIns;
use doorstep_domain::NotificationId;
use doorstep_domain::ports::{InboxItem, Which};
use serde::Serialize;
use serde_json::value::RawValue;

use super::wire::{private_json, rfc3339};
use super::{Parameters, Problem, signed_in};

/// The routes.
pub fn router(views: InboxViews, sign_ins: SignIns) -> Router {
    let routes = Router::new()
        .route("/v1/inbox", get(page))
        .route("/v1/inbox/read", post(read_all))
        .route("/v1/inbox/{id}/read", post(read_one))
        .with_state(views);
    signed_in(routes, sign_ins)
}

/// So many notifications a page, unless the client says otherwise.
const PAGE: usize = 50;

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
    let notifications = items.iter().map(ItemBody::new).collect::<Result<_, _>>()?;
    Ok(private_json(&InboxBody { notifications, next: next.map(|id| id.to_string()) }))
}

async fn read_one(
    State(views): State<InboxViews>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    query: Parameters,
) -> Result<StatusCode, Problem> {
    query.read(|_| ())?;
    // What is no id is the id of nothing.
    let read = match id.parse::<NotificationId>() {
        Ok(id) => views.read(&caller.user_id, Which::One(id)).await?,
        Err(_) => false,
    };
    if read {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::new(StatusCode::NOT_FOUND, "your inbox has no such notification"))
}

async fn read_all(
    State(views): State<InboxViews>,
    Extension(caller): Extension<Caller>,
    query: Parameters,
) -> Result<StatusCode, Problem> {
    query.read(|_| ())?;
    views.read(&caller.user_id, Which::All).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize)]
struct InboxBody<'a> {
    notifications: Vec<ItemBody<'a>>,
    next: Option<String>,
}

/// A notification as it is pushed, and whether it has been read.
#[derive(Serialize)]
struct ItemBody<'a> {
    id: String,
    kind: &'a str,
    topic: Option<&'a str>,
    created_at: String,
    payload: &'a RawValue,
    read_at: Option<String>,
}

impl<'a> ItemBody<'a> {
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
