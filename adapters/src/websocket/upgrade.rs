use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use doorstep_application::delivery::Delivery;
use doorstep_application::{Authenticator, Caller};
use doorstep_domain::ports::Clock;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use utoipa::OpenApi;

use super::connection::{Connection, Mode, close};
use super::{CloseReason, Connections, Settings, handshake};
use crate::http::openapi::ProblemBody;
use crate::http::{Problem, authenticate, peer};

/// What the endpoint is built from.
#[derive(Clone)]
pub struct WebSocketParts {
    /// Where connections are registered.
    pub connections: Arc<Connections>,
    /// What hears of arrivals, departures and acknowledgements; it pushes through `connections`.
    pub delivery: Arc<Delivery>,
    /// Recognises tokens.
    pub authenticator: Arc<dyn Authenticator>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

/// The route.
///
/// The opening handshake is answered here and not by axum's extractor: a goodbye that reliably carries its
/// code needs the bare socket under the WebSocket, which axum keeps to itself.
pub fn router(parts: WebSocketParts) -> Router {
    Router::new().route("/v1/ws", get(connect)).with_state(parts)
}

/// How the endpoint is described in `/openapi.json`.
#[derive(OpenApi)]
#[openapi(paths(connect))]
pub struct Description;

/// Receive notifications
///
/// A WebSocket. The token comes in `Authorization`, or as an offered subprotocol `bearer.TOKEN`; beside it
/// `doorstep.v1` (the client acknowledges) or `doorstep.plain.v1` (it does not) may be offered.
#[utoipa::path(
    get, path = "/v1/ws", tag = "users", security(("token" = [])),
    responses(
        (status = 101, description = "The connection is a WebSocket now."),
        (status = 400, description = "The opening handshake is not one.",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "Pages of this origin may not connect.",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 426, description = "This is a WebSocket, version 13.",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Who it is cannot be looked up now.",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn connect(
    State(parts): State<WebSocketParts>,
    mut request: Request,
) -> Result<Response, Problem> {
    let settings = parts.connections.settings();
    if !handshake::origin_allowed(request.headers(), &settings.allowed_origins) {
        let detail = "pages of this origin may not connect";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    let session_ends = parts.connections.session_ends();
    let token = handshake::token(request.headers()).ok_or_else(Problem::no_token)?;
    let caller = authenticate(&*parts.authenticator, token).await?;

    let (mode, protocol) = handshake::mode(request.headers());
    let answer = handshake::answer(request.method(), request.headers(), protocol)?;
    let upgrade = request.extensions_mut().remove::<OnUpgrade>().ok_or_else(Problem::internal)?;
    let address = peer(request.extensions());
    let tasks = parts.connections.tasks.clone();
    tasks.spawn(async move {
        match upgrade.await {
            Ok(upgraded) => {
                live(parts, TokioIo::new(upgraded), caller, session_ends, address, mode).await;
            }
            // The client went away between its request and our answer.
            Err(error) => tracing::debug!(%error, "an upgrade came to nothing"),
        }
    });
    Ok(answer)
}

/// From the end of the handshake to the end of the connection. `session_ends` is from before the look at
/// the caller's token.
pub(super) async fn live<S>(
    parts: WebSocketParts,
    io: S,
    caller: Caller,
    session_ends: u64,
    address: IpAddr,
    mode: Mode,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let WebSocketParts { connections, delivery, authenticator, clock } = parts;
    let settings = connections.settings();
    let config = Some(config(settings));
    let socket = WebSocketStream::from_raw_socket(io, Role::Server, config).await;
    let registered = connections.register(&caller, address, Arc::clone(&delivery));
    let (registered, frames) = match registered {
        Ok(registered) => registered,
        Err(reason) => {
            tracing::debug!(user = %caller.user_id, ?reason, "connection refused");
            return close(socket, reason, settings.close_grace).await;
        }
    };
    // Registered first, then announced, and nothing in between: whatever was waiting, or is accepted from now
    // on, finds it, in one order. What it is handed is not written before it runs.
    delivery.arrived(&caller.user_id);
    if connections.session_ends() != session_ends {
        // Some session was ended meanwhile. If it was this one, nobody else will notice.
        let alive = authenticator.is_alive(&caller).await;
        if !matches!(alive, Ok(true)) {
            drop(registered);
            return close(socket, CloseReason::SessionEnded, settings.close_grace).await;
        }
    }
    tracing::debug!(user = %caller.user_id, ?mode, "connected");
    let expires_at = caller.expires_at;
    let connection = Connection { mode, expires_at, registered, frames, delivery, clock };
    let reason = connection.run(socket, settings).await;
    tracing::debug!(user = %caller.user_id, ?reason, "disconnected");
}

fn config(settings: &Settings) -> WebSocketConfig {
    /// What is read at once. The default of 128 KiB is allocated for every connection, used or not.
    const READ_BUFFER: usize = 4 * 1024;
    /// Room for the largest notification and what a stuck socket may hold up before it.
    const WRITE_BUFFER: usize = 128 * 1024;
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        // Every frame is flushed: holding back would only copy.
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(settings.max_client_bytes))
        .max_frame_size(Some(settings.max_client_bytes))
}
