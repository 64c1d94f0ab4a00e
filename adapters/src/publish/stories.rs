//! `GET /v1/notifications/{id}/story` and `GET /v1/users/{user_id}/story`.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use doorstep_application::stories::{NotificationStory, StoryStep, UserStories};
use doorstep_domain::{NotificationId, SentBy, Step};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::Schema;

use super::PublishApi;
use super::notifications::states;
use super::users::user_in_path;
use crate::http::openapi::{ProblemBody, one_of, one_of_or_null};
use crate::http::{Parameters, Problem, private_json, rfc3339};

/// What happened to one notification, as far as this node remembers.
#[derive(Serialize, ToSchema)]
#[schema(as = Story)]
pub(super) struct StoryBody {
    #[schema(format = "uuid")]
    id: String,
    user_id: String,
    /// Null if its first step is forgotten.
    #[schema(required)]
    kind: Option<String>,
    /// `waiting`, `in_flight`, or its outcome.
    #[schema(schema_with = states)]
    state: &'static str,
    /// How it was sent; null if its first step is forgotten.
    #[schema(schema_with = senders, required)]
    sent_by: Option<&'static str>,
    /// The name of the service key, if it was sent with one.
    #[schema(required)]
    key: Option<String>,
    /// The trace that it belongs to.
    #[schema(required)]
    trace_id: Option<String>,
    /// Whether its first step is remembered. If not, later ones may be missing too.
    complete: bool,
    /// The story in one sentence.
    summary: String,
    /// Oldest first.
    steps: Vec<StepBody>,
}

/// One step.
#[derive(Serialize, ToSchema)]
#[schema(as = StoryStep)]
pub(super) struct StepBody {
    #[schema(format = "date-time")]
    at: String,
    /// Microseconds since the first step that is remembered.
    after_us: u64,
    /// What happened.
    #[schema(schema_with = steps)]
    step: &'static str,
    /// The same in words.
    text: String,
    /// The connection that it happened at, as in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<u64>,
}

/// What happened to a user's notifications, as far as this node remembers.
#[derive(Serialize, ToSchema)]
#[schema(as = UserStory)]
pub(super) struct UserStoryBody {
    user_id: String,
    /// Newest first.
    notifications: Vec<StoryBody>,
    /// Whether there are more than `limit`.
    more: bool,
    /// Since when everything is remembered; null if nothing was forgotten since the start of the node.
    #[schema(format = "date-time", required)]
    remembered_since: Option<String>,
}

const STEPS: [&str; 12] = [
    "received",
    "refused",
    "kept",
    "pushed",
    "no_room",
    "push_failed",
    "written",
    "acknowledged",
    "retracted",
    "ended",
    "told",
    "not_told",
];

fn steps() -> Schema {
    one_of(&STEPS)
}

fn senders() -> Schema {
    one_of_or_null(&["server", "key", "outbox", "handover", "other_node"])
}

/// The story of a notification
///
/// What happened to it, step by step: by which key it was sent, how long it waited, to which connections it was pushed,
/// which of them acknowledged it. A node remembers the latest steps (`[stories]`), and only what happened at itself.
#[utoipa::path(
    get, path = "/v1/notifications/{id}/story", tag = "publish", security(("service_key" = [])),
    params(("id" = String, Path, description = "The notification's id.")),
    responses(
        (status = 200, description = "Its story.", body = StoryBody),
        (status = 404, description = "Nothing is remembered of it.",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn of_notification(
    State(api): State<Arc<PublishApi>>,
    id: Result<Path<String>, PathRejection>,
    query: Parameters,
) -> Result<Response, Problem> {
    query.read(|_| ())?;
    let Some(stories) = &api.stories else { return Err(disabled()) };
    let id: Option<NotificationId> = id.ok().and_then(|Path(id)| id.parse().ok());
    let story = id.and_then(|id| stories.of(id)).ok_or_else(|| {
        let detail = "nothing is remembered of a notification with this id: it never came to this node, or its steps \
                      were forgotten to make room for newer ones";
        Problem::new(StatusCode::NOT_FOUND, detail)
    })?;
    Ok(private_json(&api.story(&story)))
}

/// The stories of a user's notifications
#[utoipa::path(
    get, path = "/v1/users/{user_id}/story", tag = "publish", security(("service_key" = [])),
    params(
        ("user_id" = String, Path, description = "The user, percent-encoded."),
        ("limit" = Option<u32>, Query, description = "The most notifications.", minimum = 1, maximum = 100),
    ),
    responses(
        (status = 200, description = "Their stories.", body = UserStoryBody),
        (status = 404, description = "Stories are disabled.",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn of_user(
    State(api): State<Arc<PublishApi>>,
    user_id: Result<Path<String>, PathRejection>,
    query: Parameters,
) -> Result<Response, Problem> {
    let limit = query.read(|query| query.number("limit", 1..=100, 20))?;
    let user = user_in_path(user_id)?;
    let Some(stories) = &api.stories else { return Err(disabled()) };
    let UserStories { stories, more, since } = stories.of_user(&user, limit);
    Ok(private_json(&UserStoryBody {
        user_id: user.to_string(),
        notifications: stories.iter().map(|story| api.story(story)).collect(),
        more,
        remembered_since: since.map(rfc3339),
    }))
}

fn disabled() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "this node remembers no stories (stories.enabled = false)")
}

impl PublishApi {
    fn story(&self, story: &NotificationStory) -> StoryBody {
        let state = match story.outcome {
            Some(outcome) => outcome.as_str(),
            None => self.publishing.state_of(&story.user, story.id).as_str(),
        };
        let (sent_by, key) = match &story.sent_by {
            None => (None, None),
            Some(SentBy::Program) => (Some("server"), None),
            Some(SentBy::Key(name)) => (Some("key"), Some(name.to_string())),
            Some(SentBy::Outbox) => (Some("outbox"), None),
            Some(SentBy::Handover) => (Some("handover"), None),
            Some(SentBy::OtherNode) => (Some("other_node"), None),
        };
        StoryBody {
            id: story.id.to_string(),
            user_id: story.user.to_string(),
            kind: story.kind.as_ref().map(ToString::to_string),
            state,
            sent_by,
            key,
            trace_id: story.trace.map(|trace| trace.trace_id().to_string()),
            complete: story.complete,
            summary: story.summary(),
            steps: story.steps.iter().map(StepBody::from).collect(),
        }
    }
}

impl From<&StoryStep> for StepBody {
    fn from(step: &StoryStep) -> Self {
        let (word, connection) = match &step.step {
            Step::Received { .. } => ("received", None),
            Step::Refused(_) => ("refused", None),
            Step::Kept => ("kept", None),
            Step::Pushed { connection, .. } => ("pushed", Some(connection.id)),
            Step::NoRoom => ("no_room", None),
            Step::PushFailed => ("push_failed", None),
            Step::Written(connection) => ("written", Some(connection.id)),
            Step::Acknowledged(connection) => ("acknowledged", Some(connection.id)),
            Step::Retracted { connection, .. } => ("retracted", Some(connection.id)),
            Step::Ended { .. } => ("ended", None),
            Step::Told => ("told", None),
            Step::NotTold => ("not_told", None),
        };
        Self {
            at: rfc3339(step.at),
            after_us: u64::try_from(step.after.as_micros()).unwrap_or(u64::MAX),
            step: word,
            text: step.to_string(),
            connection,
        }
    }
}
