//! A WebSocket client of our own protocol, for `listen`, `simulate` and the demo.

use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{
    self, ClientRequestBuilder, Message,
    http::{StatusCode, Uri, uri::InvalidUri},
    protocol::CloseFrame,
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::cli::Token;

/// Whether the client acknowledges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// It does: `doorstep.v1`.
    Acks,
    /// It does not: `doorstep.plain.v1`.
    Plain,
}

impl Protocol {
    const fn name(self) -> &'static str {
        match self {
            Self::Acks => "doorstep.v1",
            Self::Plain => "doorstep.plain.v1",
        }
    }
}

/// A live connection to a server.
pub(crate) struct ClientConnection(WebSocketStream<MaybeTlsStream<TcpStream>>);

/// A frame from the server.
#[derive(Debug)]
pub(crate) enum ServerFrame {
    /// A notification to show.
    Notification(ShownNotification),
    /// A type that this client does not know.
    Unknown,
}

impl ServerFrame {
    /// Parses twice, because serde's tagged enums cannot contain raw JSON.
    fn parse(text: &str) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Tag<'a> {
            r#type: &'a str,
        }
        match serde_json::from_str(text)? {
            Tag { r#type: "notification" } => Ok(Self::Notification(serde_json::from_str(text)?)),
            Tag { .. } => Ok(Self::Unknown),
        }
    }
}

/// A notification on the wire.
#[derive(Debug, Deserialize)]
pub(crate) struct ShownNotification {
    pub(crate) id: String,
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) topic: Option<String>,
    pub(crate) created_at: String,
    pub(crate) payload: Box<RawValue>,
}

/// Why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// The URL is not a WebSocket URL.
    #[error("{url:?} is not a WebSocket URL like ws://127.0.0.1:3000/v1/ws: {reason}")]
    Url { url: String, reason: String },
    /// The server refused the upgrade with this status.
    #[error("the server refused the connection with {0}")]
    Refused(StatusCode),
    /// The server could not be reached, or does not speak the protocol.
    #[error("{}", plainly(.0))]
    Unreachable(Box<tungstenite::Error>),
}

/// Describes a library's error to the person who typed the URL.
fn plainly(error: &tungstenite::Error) -> String {
    match error {
        tungstenite::Error::Io(e) => unreachable(e),
        tungstenite::Error::Tls(e) => format!("no TLS connection could be made: {e}"),
        tungstenite::Error::Protocol(_) | tungstenite::Error::HttpFormat(_) => {
            "the server there does not speak WebSocket".to_owned()
        }
        tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => {
            "it closed the connection at once".to_owned()
        }
        other => other.to_string(),
    }
}

/// Describes why a server cannot be reached.
pub(crate) fn unreachable(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
        std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::UnexpectedEof => {
            "it closed the connection at once".to_owned()
        }
        _ if error.to_string().contains("lookup address") => "there is no such host".to_owned(),
        _ => format!("it cannot be reached: {error}"),
    }
}

/// What was received on a connection.
#[derive(Debug)]
pub(crate) enum ServerMessage {
    Frame(ServerFrame),
    /// A ping or a pong, which shows that the server is alive.
    Beat,
    /// The server closed the connection, with this code if it gave one.
    Closed(Option<CloseFrame>),
    /// The connection broke.
    Broken(String),
}

impl ClientConnection {
    pub(crate) async fn open(
        url: &Uri,
        token: &Token,
        protocol: Protocol,
    ) -> Result<Self, DialError> {
        let request = ClientRequestBuilder::new(url.clone())
            .with_header("authorization", format!("Bearer {}", token.0))
            .with_sub_protocol(protocol.name());
        match connect_async(request).await {
            Ok((stream, _)) => Ok(Self(stream)),
            Err(tungstenite::Error::Http(response)) => Err(DialError::Refused(response.status())),
            Err(tungstenite::Error::Url(reason)) => {
                Err(DialError::Url { url: url.to_string(), reason: reason.to_string() })
            }
            Err(e) => Err(DialError::Unreachable(Box::new(e))),
        }
    }

    /// Waits for the next frame or the end of the connection.
    pub(crate) async fn next(&mut self) -> ServerMessage {
        match self.0.next().await {
            Some(Ok(Message::Text(text))) => match ServerFrame::parse(&text) {
                Ok(frame) => ServerMessage::Frame(frame),
                Err(e) => ServerMessage::Broken(format!("a frame that is not ours: {e}")),
            },
            Some(Ok(Message::Close(frame))) => ServerMessage::Closed(frame),
            Some(Ok(_)) => ServerMessage::Beat,
            Some(Err(tungstenite::Error::ConnectionClosed)) | None => ServerMessage::Closed(None),
            Some(Err(e)) => ServerMessage::Broken(plainly(&e)),
        }
    }

    /// Acknowledges a notification. A failure shows at the next `next`.
    pub(crate) async fn acknowledge(&mut self, id: &str) {
        let frame = serde_json::json!({ "type": "ack", "id": id });
        if let Err(e) = self.0.send(Message::text(frame.to_string())).await {
            tracing::debug!("the acknowledgement was not sent: {e}");
        }
    }

    /// Closes the connection.
    pub(crate) async fn close(mut self) {
        if let Err(e) = self.0.close(None).await {
            tracing::debug!("the close frame was not sent: {e}");
        }
    }
}

/// Completes a typed URL to that of the WebSocket: `http` means `ws`, and no path means `/v1/ws`.
pub(crate) fn websocket_uri(url: &str) -> Result<Uri, DialError> {
    let wrong = |reason: String| DialError::Url { url: url.to_owned(), reason };
    let typed = match url.strip_prefix("http") {
        Some(rest) => format!("ws{rest}"),
        None => url.to_owned(),
    };
    let uri: Uri = typed.parse().map_err(|e: InvalidUri| wrong(e.to_string()))?;
    match uri.scheme_str() {
        Some("ws" | "wss") => {}
        _ => return Err(wrong("it does not begin with ws:// or wss://".to_owned())),
    }
    if uri.path() == "/" {
        return format!("{}/v1/ws", typed.trim_end_matches('/'))
            .parse()
            .map_err(|e: InvalidUri| wrong(e.to_string()));
    }
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_parsed_and_unknown_types_ignored() {
        let text = r#"{"type":"notification","id":"1","kind":"k","topic":null,"created_at":"c","payload":{"a": 1}}"#;
        let Ok(ServerFrame::Notification(shown)) = ServerFrame::parse(text) else {
            panic!("not read")
        };
        assert_eq!((shown.id.as_str(), shown.payload.get()), ("1", r#"{"a": 1}"#));
        assert!(matches!(
            ServerFrame::parse(r#"{"type":"newer","x":1}"#),
            Ok(ServerFrame::Unknown)
        ));
        assert!(ServerFrame::parse("{}").is_err());
    }

    #[test]
    fn a_url_is_completed_from_what_a_person_types() {
        for typed in ["ws://h:1", "ws://h:1/", "http://h:1", "ws://h:1/v1/ws"] {
            assert_eq!(websocket_uri(typed).unwrap().to_string(), "ws://h:1/v1/ws");
        }
        for typed in ["wss://h:1", "https://h:1"] {
            assert_eq!(websocket_uri(typed).unwrap().to_string(), "wss://h:1/v1/ws");
        }
        for typed in ["h:1", "ftp://h", "", "ws://"] {
            assert!(websocket_uri(typed).is_err(), "{typed:?}");
        }
    }
}
