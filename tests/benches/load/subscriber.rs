//! A user's WebSocket.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{ClientRequestBuilder, Error, Message};

use crate::messages::number;
use crate::servers::Running;
use crate::stream::{Stream, connect};

pub(crate) struct Subscriber {
    socket: WebSocketStream<Stream>,
    acknowledges: bool,
}

/// How a user connects, prepared: making a token takes as long as checking it.
pub(crate) struct Ticket {
    n: usize,
    user: String,
    request: ClientRequestBuilder,
    acknowledges: bool,
}

impl Ticket {
    pub(crate) fn new(server: &Running, n: usize, user: &str, acknowledges: bool) -> Self {
        let request = server.subscribe(user, acknowledges);
        Self { n, user: user.to_owned(), request, acknowledges }
    }
}

impl Subscriber {
    /// Connects. Returns when the server has accepted the user.
    pub(crate) async fn connect(server: &Running, ticket: Ticket) -> Result<Self, Error> {
        let stream = connect(server, ticket.n).await?;
        // Small buffers, since there may be a hundred thousand of these.
        let config = WebSocketConfig::default()
            .read_buffer_size(1024)
            .write_buffer_size(0)
            .max_write_buffer_size(64 * 1024);
        let (mut socket, _) =
            tokio_tungstenite::client_async_with_config(ticket.request, stream, Some(config))
                .await?;
        if server.is_engine_io() {
            let auth = format!("40{{\"user\":\"{}\"}}", ticket.user);
            socket.send(Message::text(auth)).await?;
            // Engine.IO's `0{...}` comes first, then `40{...}`, which accepts.
            while !socket.next().await.ok_or(Error::ConnectionClosed)??.to_text()?.starts_with("40")
            {
            }
        }
        Ok(Self { socket, acknowledges: ticket.acknowledges })
    }

    /// The number of the next message. Answers pings, and acknowledges if it is to.
    pub(crate) async fn next(&mut self) -> Result<usize, Error> {
        loop {
            match self.socket.next().await.ok_or(Error::ConnectionClosed)?? {
                Message::Text(text) if text.as_str() == "2" => {
                    self.socket.send(Message::text("3")).await?;
                }
                Message::Text(text) => {
                    let Some(number) = number(&text) else { continue };
                    if self.acknowledges {
                        self.acknowledge(&text).await?;
                    }
                    return Ok(number);
                }
                Message::Close(_) => return Err(Error::ConnectionClosed),
                _ => {}
            }
        }
    }

    async fn acknowledge(&mut self, frame: &str) -> Result<(), Error> {
        let (_, rest) = frame.split_once("\"id\":\"").unwrap_or_default();
        let (id, _) = rest.split_once('"').unwrap_or_default();
        self.socket.send(Message::text(format!("{{\"type\":\"ack\",\"id\":\"{id}\"}}"))).await
    }
}
