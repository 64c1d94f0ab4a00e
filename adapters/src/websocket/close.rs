use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The client said goodbye, or is gone without one.
    Gone,
    /// The client did not answer a ping: nobody is there to be told a code.
    Unanswered,
    /// The client does not speak RFC 6455.
    Protocol,
    /// The client sent a binary message.
    Binary,
    /// The client sent what is not UTF-8, or not JSON.
    Malformed,
    /// The client sent too large a message.
    TooLarge,
    /// This node stops: come back, with backoff and jitter.
    Restart,
    /// There are too many connections: try again later.
    OverLimit,
    /// The session was signed out or has expired.
    SessionEnded,
    /// The client does not read what it is sent: its queue is full.
    TooSlow,
}

impl CloseReason {
    /// The close code (RFC 6455 section 7.4, its IANA registry, and 4000 to 4999 for private use), where
    /// there is somebody to be told.
    pub const fn code(self) -> Option<u16> {
        match self {
            Self::Gone | Self::Unanswered => None,
            Self::Protocol => Some(1002),
            Self::Binary => Some(1003),
            Self::Malformed => Some(1007),
            Self::TooLarge => Some(1009),
            Self::Restart => Some(1012),
            Self::OverLimit => Some(1013),
            Self::SessionEnded => Some(4401),
            Self::TooSlow => Some(4408),
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Gone | Self::Unanswered => "",
            Self::Protocol => "not WebSocket",
            Self::Binary => "text messages only",
            Self::Malformed => "not JSON",
            Self::TooLarge => "message too large",
            Self::Restart => "service restart",
            Self::OverLimit => "too many connections, try again later",
            Self::SessionEnded => "session ended",
            Self::TooSlow => "too slow",
        }
    }

    pub(super) fn frame(self) -> Option<CloseFrame> {
        let code = CloseCode::from(self.code()?);
        Some(CloseFrame { code, reason: self.text().into() })
    }

    /// What a failed read says about the client.
    pub(super) fn of(error: &Error) -> Self {
        match error {
            Error::Utf8(_) => Self::Malformed,
            Error::Capacity(CapacityError::MessageTooLong { .. }) => Self::TooLarge,
            // That is how a socket that ends without a goodbye is reported; no fault of anybody's.
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Self::Gone,
            Error::Protocol(_) => Self::Protocol,
            _ => Self::Gone,
        }
    }
}
