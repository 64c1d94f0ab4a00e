use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use axum::routing::get;
use doorstep_application::Authenticator;
use doorstep_application::delivery::Delivery;
use doorstep_domain::NotificationId;
use doorstep_domain::ports::Clock;

use utoipa::OpenApi;

use super::events::Events;
use super::watch::{EndOfBody, watch};
use crate::connections::{Connections, DisconnectReason, Newcomer, Pace, Transport};
use crate::http::openapi::ProblemBody;
use crate::http::{Problem, authenticate, bearer_token, client};

/// What the endpoint is built from.
#[derive(Clone)]
pub struct SseParts {
    /// Where streams are registered.
    pub connections: Arc<Connections>,
    /// The pause after which an idle stream sends a heartbeat.
    pub heartbeat: Duration,
    /// Receives arrivals, departures and acknowledgements; pushes through `connections`.
    pub delivery: Arc<Delivery>,
    /// Recognises tokens.
    pub authenticator: Arc<dyn Authenticator>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

/// The route. The token comes only in the `Authorization` header, so no page of another origin can open a stream
/// with a user's credentials, and `Origin` need not be checked here: a browser does not send such a request to
/// another origin without a preflight ([`for_origins`](crate::http::for_origins)).
pub fn router(parts: SseParts) -> Router {
    // Without the HEAD that comes with `get`: it would count as an arrival.
    let stream = get(stream).head(|| async { Problem::no_head() });
    Router::new().route("/v1/notifications/stream", stream).with_state(parts)
}

/// How the endpoint is described in `/openapi.json`.
#[derive(OpenApi)]
#[openapi(paths(stream))]
pub struct Description;

/// Receive notifications as Server-Sent Events
///
/// For networks that do not let a WebSocket pass. Each event's `id` is the notification's; a client that
/// reconnects sends the last one in `Last-Event-ID`. The last event of a stream that the server ends is `closing`,
/// with a WebSocket's code.
#[utoipa::path(
    get, path = "/v1/notifications/stream", tag = "users", security(("token" = [])),
    responses(
        (status = 200, description = "The stream.", content_type = "text/event-stream"),
        (status = 503, description = "Too many streams, or the node is stopping: come back later.",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn stream(State(parts): State<SseParts>, request: Request) -> Result<Response, Problem> {
    let SseParts { connections, heartbeat, delivery, authenticator, clock } = parts;
    if !delivery.serves_arrivals() {
        return Err(Problem::try_later("this node has not yet read what waits for its users"));
    }
    let session_ends = connections.session_ends();
    let token = bearer_token(request.headers()).ok_or_else(Problem::no_token)?;
    let caller = authenticate(&*authenticator, token).await?;
    let client = client(request.extensions());
    // A server that does not track the pace of its sockets cannot tell that one is too slow.
    let pace = request.extensions().get::<Pace>().cloned().unwrap_or_else(Pace::new);
    let newcomer = Newcomer { transport: Transport::Sse, caller: &caller, client, pace };
    let registered = connections
        .register(newcomer, Arc::clone(&delivery))
        .map_err(|refusal| Problem::try_later(&refusal.to_string()))?;
    let link = registered.link().clone();
    if let Some(last) = last_event_id(request.headers()) {
        link.acknowledged(last);
    }
    // Registered first, then announced, with no await in between: waiting notifications and those accepted from
    // now on reach this stream in one order. Nothing is written before the body is polled.
    link.announce();
    if connections.session_ends() != session_ends {
        // A session was ended in between. If it was this one, nothing else will notice.
        if !authenticator.is_alive(&caller).await? {
            registered.end(DisconnectReason::SessionEnded);
            return Err(Problem::dead_token());
        }
    }
    tracing::debug!(user = %caller.user_id, connection = link.connection().id, "streaming");
    watch(&connections, registered, Arc::clone(&clock), caller.expires_at);
    let end = EndOfBody(Arc::clone(link.connection()));
    let events = Events { link, clock, heartbeat, written: None, end };
    let mut response = Response::new(Body::from_stream(events.into_body()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    // Tells nginx not to buffer the response. `no-transform` (RFC 9111 section 5.2.2.6) keeps proxies from
    // compressing, and so from holding events back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

fn last_event_id(headers: &HeaderMap) -> Option<NotificationId> {
    headers.get("last-event-id")?.to_str().ok()?.parse().ok()
}
