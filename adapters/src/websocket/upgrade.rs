use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use doorstep_application::delivery::Delivery;
use doorstep_application::{Authenticator, Caller};
use doorstep_domain::ports::Clock;
use futures_util::StreamExt as _;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tracing::Instrument as _;

use utoipa::OpenApi;

use super::close::{Late, close};
use super::conversation::{Conversation, Mode};
use super::{WebSocketSettings, handshake};
use crate::connections::{Connections, DisconnectReason, Newcomer, Pace, Transport};
use crate::http::openapi::ProblemBody;
use crate::http::{ClientAddress, Problem, authenticate, client, origin_may_connect};

/// What the endpoint is built from.
#[derive(Clone)]
pub struct WebSocketParts {
    /// Where connections are registered.
    pub connections: Arc<Connections>,
    /// How WebSocket connections behave.
    pub settings: Arc<WebSocketSettings>,
    /// Receives arrivals, departures and acknowledgements; pushes through `connections`.
    pub delivery: Arc<Delivery>,
    /// Recognises tokens.
    pub authenticator: Arc<dyn Authenticator>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

/// The route.
///
/// The opening handshake is answered here and not by axum's extractor: a close frame that reliably arrives needs
/// the bare socket under the WebSocket, which axum does not expose.
pub fn router(parts: WebSocketParts) -> Router {
    Router::new().route("/v1/ws", get(connect)).with_state(parts)
}

/// How the endpoint is described in `/openapi.json`.
#[derive(OpenApi)]
#[openapi(paths(connect))]
pub struct Description;

/// Receive notifications
///
/// A WebSocket. The token comes in `Authorization`, or as an offered subprotocol `bearer.TOKEN`. In addition,
/// `doorstep.v1` (the client acknowledges) or `doorstep.plain.v1` (it does not) may be offered.
#[utoipa::path(
    get, path = "/v1/ws", tag = "users", security(("token" = [])),
    responses(
        (status = 101, description = "The connection is a WebSocket now."),
        (status = 400, description = "It is not an opening handshake, or offers no supported subprotocol.",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "Pages of this origin may not connect.",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 426, description = "This is a WebSocket, version 13.",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The caller cannot be looked up now, or the node is starting: come back later.",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn connect(
    State(parts): State<WebSocketParts>,
    mut request: Request,
) -> Result<Response, Problem> {
    if !origin_may_connect(request.headers(), &parts.settings.allowed_origins) {
        let detail = "pages of this origin may not connect";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    if !parts.delivery.serves_arrivals() {
        return Err(Problem::try_later("this node has not yet read what waits for its users"));
    }
    let (mode, protocol) = handshake::mode(request.headers())?;
    let session_ends = parts.connections.session_ends();
    let token = handshake::token(request.headers()).ok_or_else(Problem::no_token)?;
    let caller = authenticate(&*parts.authenticator, token).await?;

    let answer =
        handshake::answer(request.method(), request.version(), request.headers(), protocol)?;
    let upgrade = request.extensions_mut().remove::<OnUpgrade>().ok_or_else(Problem::internal)?;
    let client = client(request.extensions());
    // That of the socket below all buffers, TLS included. A server that does not track it cannot tell that one is too
    // slow.
    let pace = request.extensions().get::<Pace>().cloned().unwrap_or_else(Pace::new);
    let tasks = parts.connections.tasks.clone();
    tasks.spawn(async move {
        match upgrade.await {
            Ok(upgraded) => {
                let io = TokioIo::new(upgraded);
                live(parts, io, pace, caller, session_ends, client, mode).await;
            }
            // The client went away between its request and our response.
            Err(error) => tracing::debug!(%error, "an upgrade failed"),
        }
    });
    Ok(answer)
}

/// Runs a connection from the end of the handshake to its end. `session_ends` was read before the caller's token
/// was checked.
pub(super) async fn live<S>(
    parts: WebSocketParts,
    io: S,
    pace: Pace,
    caller: Caller,
    session_ends: u64,
    client: ClientAddress,
    mode: Mode,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let WebSocketParts { connections, settings, delivery, authenticator, clock } = parts;
    let settings = &*settings;
    let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config(settings))).await;
    let newcomer = Newcomer { transport: Transport::WebSocket, caller: &caller, client, pace };
    let registered = match connections.register(newcomer, delivery) {
        Ok(registered) => registered,
        Err(refusal) => {
            tracing::debug!(user = %caller.user_id, %refusal, "connection refused");
            return Box::pin(close(socket, refusal.into(), settings, Late::Nothing)).await;
        }
    };
    // Registered first, then announced, with nothing in between: waiting notifications and those accepted from now
    // on reach this connection in one order. Nothing is written before the connection runs.
    registered.link().announce();
    if connections.session_ends() != session_ends {
        // A session was ended in between. If it was this one, nothing else will notice.
        let alive = authenticator.is_alive(&caller).await;
        if !matches!(alive, Ok(true)) {
            registered.end(DisconnectReason::SessionEnded);
            return Box::pin(close(
                socket,
                DisconnectReason::SessionEnded,
                settings,
                Late::Nothing,
            ))
            .await;
        }
    }
    let id = registered.link().connection().id;
    tracing::debug!(user = %caller.user_id, connection = id, ?mode, "connected");
    let span = tracing::info_span!("connection", user = %caller.user_id, connection = id);
    let conversation = Conversation {
        mode,
        expires_at: caller.expires_at,
        registered,
        clock: &*clock,
        too_slow_after: connections.too_slow_after(),
    };
    conversation.run(socket.split(), settings).instrument(span).await;
}

fn config(settings: &WebSocketSettings) -> WebSocketConfig {
    /// The read buffer, which every connection has, used or not. It grows for a message that needs more, and an
    /// acknowledgement needs less than a hundred bytes.
    const READ_BUFFER: usize = 256;
    /// Room for the largest notification and for what a blocked socket may hold up before it.
    const WRITE_BUFFER: usize = 128 * 1024;
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        // Every frame is flushed. What fits here, a heartbeat and a ping, goes out in one write.
        .write_buffer_size(64)
        .max_write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(settings.max_client_bytes))
        .max_frame_size(Some(settings.max_client_bytes))
}
