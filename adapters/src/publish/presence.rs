//! `GET /v1/users/{user_id}/presence` and `POST /v1/presence`.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use doorstep_domain::{UserId, UserIdError};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, Type};

use super::users::user_in_path;
use futures_util::stream::{self, StreamExt as _};

use super::{MAX_BATCH, PublishApi};
use crate::http::{Fields, Parameters, Problem, private_json};

/// How many users are asked for at once.
const AT_ONCE: usize = 64;

/// Whether a user has a live connection, as far as is known.
#[derive(Serialize, ToSchema)]
#[schema(as = Presence)]
pub(super) struct PresenceBody {
    user_id: String,
    online: bool,
}

/// The presence of several users, in the order of the request.
#[derive(Serialize, ToSchema)]
#[schema(as = Presences)]
pub(super) struct PresencesBody {
    presence: Vec<PresenceBody>,
}

/// The users whose presence is asked for.
#[derive(ToSchema)]
#[schema(as = PresenceQuestion)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the description of what `of_many` reads")]
pub(super) struct QuestionBody {
    #[schema(schema_with = described_ids)]
    user_ids: Vec<String>,
}

fn described_ids() -> Schema {
    let id = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(UserId::MAX_BYTES));
    ArrayBuilder::new().items(id).max_items(Some(MAX_BATCH)).into()
}

/// Whether a user is connected
#[utoipa::path(
    get, path = "/v1/users/{user_id}/presence", tag = "publish", security(("service_key" = [])),
    params(("user_id" = String, Path, description = "The user, percent-encoded.")),
    responses((status = 200, description = "Whether the user is connected.", body = PresenceBody)),
)]
pub(super) async fn of_one(
    State(api): State<Arc<PublishApi>>,
    user_id: Result<Path<String>, PathRejection>,
    query: Parameters,
) -> Result<Response, Problem> {
    query.read(|_| ())?;
    let user_id = user_in_path(user_id)?;
    Ok(private_json(&presence(&api, user_id).await))
}

/// Which of many users are connected
#[utoipa::path(
    post, path = "/v1/presence", tag = "publish", security(("service_key" = [])),
    request_body = QuestionBody,
    responses((status = 200, description = "The presence of each user.", body = PresencesBody)),
)]
pub(super) async fn of_many(
    State(api): State<Arc<PublishApi>>,
    query: Parameters,
    body: Fields,
) -> Result<Response, Problem> {
    query.read(|_| ())?;
    let users = body.read(user_ids)?;
    // In a cluster each is a question to the other nodes.
    let all = stream::iter(users).map(|user| presence(&api, user)).buffered(AT_ONCE);
    Ok(private_json(&PresencesBody { presence: all.collect().await }))
}

pub(super) fn user_ids(fields: &mut Fields) -> Vec<UserId> {
    let Some(value) = fields.optional_value("user_ids") else {
        fields.fault("user_ids", "missing");
        return Vec::new();
    };
    let Value::Array(ids) = value else {
        fields.fault("user_ids", "must be an array of strings");
        return Vec::new();
    };
    if ids.len() > MAX_BATCH {
        fields.fault("user_ids", format!("must have at most {MAX_BATCH} ids"));
        return Vec::new();
    }
    let mut users = Vec::with_capacity(ids.len());
    for (at, id) in ids.iter().enumerate() {
        match id.as_str().map(str::parse) {
            Some(Ok(user)) => users.push(user),
            Some(Err(e)) => {
                let e: UserIdError = e;
                fields.fault(&format!("user_ids[{at}]"), e.to_string());
            }
            None => fields.fault(&format!("user_ids[{at}]"), "must be a string"),
        }
    }
    users
}

async fn presence(api: &PublishApi, user: UserId) -> PresenceBody {
    let online = api.publishing.is_online(&user).await;
    PresenceBody { user_id: user.to_string(), online }
}
