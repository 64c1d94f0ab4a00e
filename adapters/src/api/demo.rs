//! `POST /v1/demo/notifications` and `GET /v1/demo/record`: for the page that shows the policies side by side. Not
//! part of the stable interface, and only served if `[demo]` is enabled.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use doorstep_application::Caller;
use doorstep_application::delivery::Refused;
use doorstep_application::demo::{Demo, DemoStep, Lane, NotSent};
use doorstep_application::sign_ins::SignIns;
use serde::Serialize;
use utoipa::openapi::schema::Schema;
use utoipa::{OpenApi, ToSchema};

use crate::http::openapi::one_of;

use crate::http::{
    AddressLimit, Fields, Parameters, Problem, private_json, rfc3339, signed_in, within_limit,
};

/// The longest text, in characters.
const MAX_TEXT: usize = 500;

/// The clients that may see the demonstration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Every client.
    Everybody,
    /// Clients on this machine, but not those that come through a proxy on it.
    ThisMachine,
}

/// The routes. `limit` is the rate of notifications per address.
pub fn router(demo: Demo, sign_ins: SignIns, limit: AddressLimit, reach: Reach) -> Router {
    let send = post(send).route_layer(from_fn_with_state(limit, within_limit));
    let routes = Router::new()
        .route("/v1/demo/notifications", send)
        .route("/v1/demo/record", get(record))
        .with_state(demo);
    let routes = signed_in(routes, sign_ins);
    match reach {
        Reach::Everybody => routes,
        Reach::ThisMachine => routes.route_layer(from_fn(not_forwarded)),
    }
}

/// Hides the routes from forwarded requests: they come from this machine, but their clients may not.
async fn not_forwarded(request: Request, next: Next) -> Result<Response, Problem> {
    const SIGNS: [&str; 6] = [
        "forwarded",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-real-ip",
    ];
    if SIGNS.iter().any(|sign| request.headers().contains_key(*sign)) {
        let detail = "the demonstration is for this machine only: see demo.enabled";
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    }
    Ok(next.run(request).await)
}

#[derive(Serialize, ToSchema)]
struct StepBody {
    at: String,
    what: &'static str,
    kind: Option<String>,
    detail: String,
}

impl From<DemoStep> for StepBody {
    fn from(DemoStep { at, what, kind, detail }: DemoStep) -> Self {
        Self { at: rfc3339(at), what, kind: kind.map(|kind| kind.to_string()), detail }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = RecordBody)]
struct DemoRecordBody {
    now: String,
    steps: Vec<StepBody>,
}

/// How the family is described in `/openapi.json`.
#[derive(OpenApi)]
#[openapi(paths(send, record))]
pub struct Description;

#[derive(ToSchema)]
#[schema(as = Wanted)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described: the body is read field by field")]
struct DemoNotificationBody {
    #[schema(schema_with = lanes)]
    policy: String,
    #[schema(max_length = 500)]
    text: Option<String>,
}

fn lanes() -> Schema {
    one_of(&Lane::ALL.map(Lane::as_str))
}

/// Send yourself a notification
///
/// Uses one of the policies, to show what happens. Only available while the demonstration is enabled.
#[utoipa::path(
    post, path = "/v1/demo/notifications", tag = "demo", security(("token" = [])),
    request_body = DemoNotificationBody,
    responses(
        (status = 202, description = "It is on its way.", body = StepBody),
        (status = 404, description = "The demonstration is for this machine only, and this request was forwarded.",
            body = crate::http::openapi::ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "Too many from this address.",
            body = crate::http::openapi::ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn send(
    State(demo): State<Demo>,
    Extension(caller): Extension<Caller>,
    query: Parameters,
    body: Fields,
) -> Result<impl IntoResponse, Problem> {
    query.read(|_| ())?;
    let (lane, text) = body.read(|fields| {
        let wanted = fields.text("policy");
        let lane = Lane::ALL.into_iter().find(|lane| lane.as_str() == wanted);
        if lane.is_none() {
            fields.fault("policy", "must be immediate, poll, wake, promote or inbox");
        }
        let text = fields.optional_text("text").unwrap_or_default();
        if text.chars().count() > MAX_TEXT {
            fields.fault("text", format!("must have at most {MAX_TEXT} characters"));
        }
        (lane.unwrap_or(Lane::Wake), text)
    })?;
    let step = demo.send(&caller.user_id, lane, &text).await?;
    Ok((StatusCode::ACCEPTED, private_json(&StepBody::from(step))))
}

/// What the server did with your notifications
#[utoipa::path(
    get, path = "/v1/demo/record", tag = "demo", security(("token" = [])),
    responses(
        (status = 200, description = "Step by step.", body = DemoRecordBody),
        (status = 404, description = "The demonstration is for this machine only, and this request was forwarded.",
            body = crate::http::openapi::ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn record(
    State(demo): State<Demo>,
    Extension(caller): Extension<Caller>,
    query: Parameters,
) -> Result<impl IntoResponse, Problem> {
    query.read(|_| ())?;
    let (now, steps) = demo.record(&caller.user_id);
    let steps = steps.into_iter().map(StepBody::from).collect();
    Ok(private_json(&DemoRecordBody { now: rfc3339(now), steps }))
}

impl From<NotSent> for Problem {
    fn from(error: NotSent) -> Self {
        match error {
            NotSent::Refused(Refused::Store(error)) => error.into(),
            NotSent::Refused(refused) => Self::try_later(&refused.to_string()),
            // The text is short, and the kinds are fixed.
            NotSent::Payload(_) | NotSent::Kind(_) => Self::internal(),
        }
    }
}
