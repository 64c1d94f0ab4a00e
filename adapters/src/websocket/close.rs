use doorstep_domain::NotificationId;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::WebSocketSettings;
use super::client_frame::FromClient;
use super::close_frame::close_frame;
use crate::connections::{DeliveryLink, DisconnectReason};

/// What still counts after the connection has departed.
#[derive(Clone, Copy)]
pub(super) enum Late<'a> {
    Nothing,
    /// Acknowledgements that the client sends before it has seen the close frame.
    Acknowledgements(&'a DeliveryLink),
    /// The rest of this notification's frame, for a client that does not acknowledge: once the close frame behind it is
    /// written, the client has been written all of it.
    Rest(&'a DeliveryLink, NotificationId),
}

/// Closes: sends the close frame, ends our side, and reads on until the client has ended its side. Closing a
/// socket with unread data would reset the connection and lose the close frame.
///
/// Callers put it into a box of its own: otherwise every connection would have room for it from its beginning.
pub(super) async fn close<S>(
    mut socket: WebSocketStream<S>,
    reason: DisconnectReason,
    settings: &WebSocketSettings,
    late: Late<'_>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if reason == DisconnectReason::Unanswered {
        return;
    }
    let goodbye = async {
        // If the client closed first, its close frame has been answered already, and this only fails.
        let closed = socket.close(close_frame(reason)).await;
        let flushed = socket.flush().await;
        if let Late::Rest(link, id) = late
            && closed.and(flushed).is_ok()
        {
            link.written_for_good(id);
        }
        let _ = socket.get_mut().shutdown().await;
        if let Late::Acknowledgements(link) = late {
            while let Some(Ok(message)) = socket.next().await {
                if let Message::Text(text) = message
                    && let Ok(FromClient::Ack(id)) = FromClient::parse(&text)
                {
                    link.acknowledged(id);
                }
            }
        }
        // From here on without the WebSocket layer: after an invalid frame it no longer knows where the next one
        // begins.
        let socket = socket.get_mut();
        let mut unread = [0; 1024];
        while socket.read(&mut unread).await.is_ok_and(|read| read > 0) {}
    };
    // A client that does not read cannot hold its connection open for longer. A client that was too slow must
    // first read what is in its socket already.
    let grace = match reason {
        DisconnectReason::TooSlow => settings.slow_close_grace,
        _ => settings.close_grace,
    };
    let _ = tokio::time::timeout(grace, goodbye).await;
}
