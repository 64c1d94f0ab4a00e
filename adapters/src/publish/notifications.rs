//! `POST /v1/notifications` and `GET /v1/notifications/{id}`.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use doorstep_application::publishing::{
    Draft, DraftBounds, Progress, Published, PublishedRecord, Rejection, WantedPolicy,
};
use doorstep_domain::{NotificationId, Outcome};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::Schema;

use super::auth::sender_of;
use super::body::{Body, draft};
use super::{MAX_BATCH, PublishApi};
use crate::http::openapi::{one_of, one_of_or_null};
use crate::http::{FieldError, Parameters, Problem, private_json, rfc3339, trace_of};

/// A notification to publish.
#[derive(ToSchema)]
#[schema(as = Draft)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the description of what `body::draft` reads")]
pub(super) struct DraftBody {
    /// The user it is for: any string of 1 to 128 bytes of UTF-8.
    #[schema(min_length = 1, max_length = 128)]
    user_id: String,
    /// What happened. The kind selects the rule by which the notification is delivered.
    #[schema(pattern = "^[A-Za-z0-9._-]{1,64}$")]
    kind: String,
    /// The data for the client: any JSON of at most 32 KiB.
    payload: serde_json::Value,
    /// A newer notification of the same topic replaces this one while it waits.
    #[schema(pattern = "^[!-~]{1,64}$")]
    topic: Option<String>,
    /// How long it may wait, in seconds; 0 means that it is delivered now or never.
    #[schema(minimum = 0, maximum = 86400)]
    ttl: Option<u32>,
    /// Overrides the policy of its kind.
    #[schema(schema_with = policies)]
    policy: Option<String>,
    /// Its id and idempotency key: a notification that is sent again gets its first response again, and is not
    /// pushed twice.
    #[schema(format = "uuid")]
    id: Option<String>,
}

fn policies() -> Schema {
    one_of_or_null(&WantedPolicy::WORDS.map(|(word, _)| word))
}

pub(super) fn states() -> Schema {
    let mut words = vec!["waiting", "in_flight"];
    words.extend(Outcome::ALL.map(Outcome::as_str));
    one_of(&words)
}

/// One notification, or up to 1,000, each judged on its own.
#[derive(ToSchema)]
#[schema(as = OneOrMany)]
#[serde(untagged)]
#[expect(dead_code, reason = "the description of what `body::Body` reads")]
pub(super) enum OneOrMany {
    One(DraftBody),
    Many(Vec<DraftBody>),
}

/// The state of each, in the order in which they were sent.
#[derive(Serialize, ToSchema)]
#[schema(as = Published)]
pub(super) struct PublishedBody {
    notifications: Vec<PublishedItemBody>,
}

/// The state of one notification after publishing, or at the end of `wait`.
#[derive(Serialize, ToSchema)]
#[schema(as = PublishedNotification)]
pub(super) struct PublishedItemBody {
    /// Its id; null if it was rejected and has no readable one.
    #[schema(format = "uuid", required)]
    id: Option<String>,
    /// Its state, or its outcome.
    #[schema(schema_with = states)]
    state: &'static str,
    /// Why it was rejected: `invalid`, `mailbox_full`, `node_full`, `no_inbox`, `inbox_away`, `cluster_away`, `too_large` or
    /// `stopping`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// The faults of an invalid notification.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<FieldError>,
}

/// Publish one notification or several
///
/// The response comes at once, or, with `wait`, when every outcome is known or this many seconds have passed. A
/// rejected notification may be sent again with the same id.
#[utoipa::path(
    post, path = "/v1/notifications", tag = "publish", security(("service_key" = [])),
    params(
        ("wait" = Option<u32>, Query, description = "Seconds to wait for the outcomes.", minimum = 0, maximum = 60),
        ("traceparent" = Option<String>, Header, description = "The trace that the notifications belong to (W3C Trace \
            Context). It is in their frames, in the webhook and in the log. One that is invalid is ignored."),
    ),
    request_body = OneOrMany,
    responses(
        (status = 202, description = "The state of each.", body = PublishedBody),
        (status = 503, description = "This node is cut off from the others: send again with the same ids.",
            body = crate::http::openapi::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn publish(
    State(api): State<Arc<PublishApi>>,
    query: Parameters,
    request: Request,
) -> Result<Response, Problem> {
    let wait = super::wait(query)?;
    let (trace, sent_by) = (trace_of(request.headers()), sender_of(&request));
    let (bytes, place) = api.large.json_bytes(request).await?;
    let judged = judge(&bytes, DraftBounds { max_ttl: api.max_ttl, inbox: api.inbox });
    let judged = judged.inspect_err(|_| api.publishing.count_invalid())?;
    drop(bytes);
    let publishing = api.publishing.clone();
    let sending = async move {
        let mut drafts = Vec::with_capacity(judged.len());
        let mut items: Vec<Option<PublishedItemBody>> = Vec::with_capacity(judged.len());
        for one in judged {
            items.push(match one {
                Ok(draft) => {
                    drafts.push(Draft { trace, sent_by: sent_by.clone(), ..draft });
                    None
                }
                Err(invalid) => {
                    publishing.count_invalid();
                    Some(invalid)
                }
            });
        }
        let mut published = publishing.publish_all(drafts).await.into_iter();
        drop(place);
        items
            .into_iter()
            .filter_map(|item| item.or_else(|| Some(published.next()?.into())))
            .collect()
    };
    let mut items: Vec<PublishedItemBody> =
        super::to_its_end(sending).await.map_err(|_| Problem::internal())?;
    if !wait.is_zero() {
        wait_for(&api, &mut items, wait).await;
    }
    let away = Rejection::ClusterAway.as_str();
    if !items.is_empty() && items.iter().all(|item| item.reason == Some(away)) {
        let why = "this node is cut off from the other nodes, or has not read from them yet: send again with the same \
                   id, here later or to another node at once";
        return Err(Problem::try_later(why));
    }
    let body = PublishedBody { notifications: items };
    Ok((StatusCode::ACCEPTED, private_json(&body)).into_response())
}

/// Reads the drafts in a body, each judged on its own.
pub(super) fn judge(
    bytes: &[u8],
    bounds: DraftBounds,
) -> Result<Vec<Result<Draft, PublishedItemBody>>, Problem> {
    let body = Body::read(bytes).map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, format!("the body is not JSON: {error}"))
    })?;
    match body {
        Body::One(one) => match draft(one, bounds) {
            Ok(draft) => Ok(vec![Ok(draft)]),
            Err((_, errors)) => Err(Problem::fields(errors)),
        },
        Body::Many(many) => {
            let judged =
                |one| draft(one, bounds).map_err(|(id, e)| PublishedItemBody::invalid(id, e));
            Ok(many.into_iter().map(judged).collect())
        }
        Body::TooMany => {
            let detail = format!("must have at most {MAX_BATCH} notifications");
            let error = FieldError { place: "body", field: String::new(), detail };
            Err(Problem::fields(vec![error]))
        }
    }
}

async fn wait_for(api: &PublishApi, items: &mut [PublishedItemBody], wait: std::time::Duration) {
    let id = |item: &PublishedItemBody| -> Option<NotificationId> {
        if item.reason.is_some() { None } else { item.id.as_deref()?.parse().ok() }
    };
    api.publishing.wait_for(items.iter().filter_map(id), wait).await;
    for item in items {
        let known = id(item).and_then(|id| api.publishing.look_up(id));
        if let Some(PublishedRecord { progress, .. }) = known {
            item.state = state(progress);
        }
    }
}

impl PublishedItemBody {
    fn invalid(id: Option<NotificationId>, errors: Vec<FieldError>) -> Self {
        let id = id.map(|id| id.to_string());
        Self { id, state: "rejected", reason: Some("invalid"), errors }
    }
}

impl From<Published> for PublishedItemBody {
    fn from(Published { id, state }: Published) -> Self {
        let (state, reason) = match state {
            Ok(accepted) => (accepted.as_str(), None),
            Err(rejection) => ("rejected", Some(Rejection::as_str(rejection))),
        };
        Self { id: Some(id.to_string()), state, reason, errors: Vec::new() }
    }
}

fn state(progress: Progress) -> &'static str {
    match progress {
        Progress::Open(so_far) => so_far.as_str(),
        Progress::Ended(outcome, _) => outcome.as_str(),
    }
}

/// The state of a notification.
#[derive(Serialize, ToSchema)]
#[schema(as = NotificationState)]
pub(super) struct NotificationStateBody {
    #[schema(format = "uuid")]
    id: String,
    /// `waiting`, `in_flight`, or its outcome.
    #[schema(schema_with = states)]
    state: &'static str,
    #[schema(format = "date-time")]
    created_at: String,
    /// When it ended; null while it has not.
    #[schema(format = "date-time", required)]
    ended_at: Option<String>,
}

/// Look up a notification
///
/// A notification is known from its acceptance until an hour after its end, on the node that accepted it and as
/// far as memory allows.
#[utoipa::path(
    get, path = "/v1/notifications/{id}", tag = "publish", security(("service_key" = [])),
    params(
        ("id" = String, Path, description = "The notification's id, from the request or the response of publishing."),
        ("wait" = Option<u32>, Query, description = "Seconds to wait for the outcome.", maximum = 60),
    ),
    responses(
        (status = 200, description = "Its state or outcome.", body = NotificationStateBody),
        (status = 404, description = "The notification is unknown, or no longer known.",
            body = crate::http::openapi::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn look_up(
    State(api): State<Arc<PublishApi>>,
    id: Result<Path<String>, PathRejection>,
    query: Parameters,
) -> Result<Response, Problem> {
    let wait = super::wait(query)?;
    let id: Option<NotificationId> = id.ok().and_then(|Path(id)| id.parse().ok());
    let unknown = || {
        let detail = "no notification of this id is known here";
        Problem::new(StatusCode::NOT_FOUND, detail)
    };
    let id = id.ok_or_else(unknown)?;
    let mut known = api.publishing.look_up_anywhere(id).await?;
    if !wait.is_zero()
        && known.as_ref().is_some_and(|record| matches!(record.progress, Progress::Open(_)))
    {
        api.publishing.wait_for([id], wait).await;
        known = api.publishing.look_up_anywhere(id).await?;
    }
    let PublishedRecord { created_at, progress, .. } = known.ok_or_else(unknown)?;
    let ended_at = match progress {
        Progress::Ended(_, at) => Some(rfc3339(at)),
        Progress::Open(_) => None,
    };
    Ok(private_json(&NotificationStateBody {
        id: id.to_string(),
        state: state(progress),
        created_at: rfc3339(created_at),
        ended_at,
    }))
}
