//! `GET /openapi.json`: the endpoints of this node, in `OpenAPI` 3.1, generated from the code.
//!
//! Each family describes its own handlers (`#[utoipa::path]`) and has a `Description`. [`router`] merges those of
//! the families that are served, and adds the problems with which
//! [`Endpoints`](super::Endpoints) and the extractors respond everywhere. To add a family: a
//! `Description` next to its `router`, and one entry in the composition root.

use axum::Router;
use axum::http::header;
use axum::routing::get;
use serde_json::{Map, Value, json};
pub use utoipa::OpenApi;
use utoipa::ToSchema;
pub use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};

use super::FieldError;

/// An error response (RFC 9457).
#[derive(ToSchema)]
#[schema(as = Problem)]
#[expect(dead_code, reason = "the description of what `problem::Problem` returns")]
pub(crate) struct ProblemBody {
    /// Missing means `about:blank`: the status says what kind of problem it is.
    #[schema(rename = "type")]
    r#type: Option<String>,
    /// The status in words.
    title: String,
    /// The status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong, in a sentence.
    detail: String,
    /// The fields or parameters at fault.
    errors: Option<Vec<FieldError>>,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Doorstep",
        description = "Pushes that wait at the door. Times are RFC 3339 in UTC, money is decimal \
                       strings, errors are RFC 9457 problems."
    ),
    components(schemas(ProblemBody)),
    paths(describe)
)]
struct NodeDescription;

/// This description
#[utoipa::path(
    get, path = "/openapi.json", tag = "node",
    responses((status = 200, description = "An OpenAPI 3.1 document.", body = Value)),
)]
#[expect(dead_code, reason = "only its description is used: the answer is made once")]
fn describe() {}

/// The schema of a string that is one of these words.
pub(crate) fn one_of(words: &[&str]) -> Schema {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(words.iter().map(|word| Value::from(*word))))
        .into()
}

/// The same as [`one_of`], or null.
pub(crate) fn one_of_or_null(words: &[&str]) -> Schema {
    let words = words.iter().map(|word| Value::from(*word));
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .enum_values(Some(words.chain([Value::Null])))
        .into()
}

/// The route that serves the description of these families.
pub fn router(families: Vec<Document>) -> Router {
    let text = bytes::Bytes::from(document(families).to_string());
    let answer = ([(header::CONTENT_TYPE, "application/json")], text);
    Router::new().route("/openapi.json", get(move || async move { answer }))
}

/// The problems that an operation may return in addition to those that it describes itself.
fn shared_problems(path: &str, operation: &Map<String, Value>) -> Vec<u16> {
    let mut statuses = vec![500];
    if operation.contains_key("security") {
        statuses.push(401);
    }
    if path.starts_with("/v1/") && path != "/v1/ws" {
        // Every query string is read, and unknown parameters are refused.
        statuses.extend([503, 400, 422]);
    }
    if operation.contains_key("requestBody") {
        statuses.extend([408, 413, 415]);
    }
    statuses
}

const PROBLEMS: [(u16, &str); 8] = [
    (400, "The request cannot be read."),
    (401, "No token, or an invalid one."),
    (408, "The body took too long to arrive."),
    (413, "The body is too large."),
    (415, "The body is not declared as JSON."),
    (422, "Some fields or parameters are invalid; each is named."),
    (500, "An internal error."),
    (503, "The request may succeed later."),
];

fn problem(status: u16, description: &str) -> Value {
    let mut problem = json!({
        "description": description,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    });
    if let Some(headers) = headers(status) {
        problem["headers"] = headers;
    }
    problem
}

/// The headers that every response with this status has.
fn headers(status: u16) -> Option<Value> {
    match status {
        401 => Some(json!({"WWW-Authenticate": {"schema": {"type": "string"}}})),
        429 | 503 => Some(json!({"Retry-After": {"schema": {"type": "integer", "minimum": 1}}})),
        _ => None,
    }
}

/// The whole document.
fn document(families: Vec<Document>) -> Value {
    let document = families.into_iter().fold(NodeDescription::openapi(), Document::merge_from);
    // The rest is the same for all operations, and easier on the finished tree.
    let mut document = serde_json::to_value(document).unwrap_or_default();
    let scheme =
        |description| json!({"type": "http", "scheme": "bearer", "description": description});
    // Relative to where this document is served.
    document["servers"] = json!([{"url": "/", "description": "This node."}]);
    document["components"]["securitySchemes"] = json!({
        "token": scheme("A user's token: of a session, or one that the backend signed."),
        "service_key": scheme("A backend's service key, made by `doorstep key new`."),
    });
    for (status, description) in PROBLEMS {
        document["components"]["responses"][format!("Problem{status}")] =
            problem(status, description);
    }
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for (path, methods) in paths {
        for (_, operation) in methods.as_object_mut().into_iter().flatten() {
            let Some(operation) = operation.as_object_mut() else { continue };
            let problems = shared_problems(path, operation);
            // Operations without a token say so explicitly.
            operation.entry("security").or_insert_with(|| json!([]));
            let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut)
            else {
                continue;
            };
            for (status, response) in responses.iter_mut() {
                if let Some(headers) = status.parse().ok().and_then(headers) {
                    response["headers"] = headers;
                }
            }
            for status in problems {
                let known = json!({"$ref": format!("#/components/responses/Problem{status}")});
                responses.entry(status.to_string()).or_insert(known);
            }
        }
    }
    document
}
