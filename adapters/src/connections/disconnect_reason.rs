/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DisconnectReason {
    /// The client closed the connection, or vanished without closing it.
    Gone,
    /// The client did not answer a ping; no code can be sent to it.
    Unanswered,
    /// The client does not speak RFC 6455.
    Protocol,
    /// The client sent a binary message.
    Binary,
    /// The client sent a message that is not UTF-8, or not JSON.
    Malformed,
    /// The client sent too large a message.
    TooLarge,
    /// This node is stopping: the client should reconnect with backoff and jitter.
    Restart,
    /// There are too many connections: the client should try again later.
    OverLimit,
    /// The session was signed out or has expired.
    SessionEnded,
    /// The backend ended the user's connections.
    Disconnected,
    /// The client does not read: its socket took no byte for [`too_slow_after`] while frames waited.
    ///
    /// [`too_slow_after`]: super::ConnectionSettings::too_slow_after
    TooSlow,
}

impl DisconnectReason {
    /// Every reason, in the order of its variants.
    pub const ALL: [Self; 11] = [
        Self::Gone,
        Self::Unanswered,
        Self::Protocol,
        Self::Binary,
        Self::Malformed,
        Self::TooLarge,
        Self::Restart,
        Self::OverLimit,
        Self::SessionEnded,
        Self::Disconnected,
        Self::TooSlow,
    ];

    /// The close code (RFC 6455 section 7.4, its IANA registry, and 4000 to 4999 for private use); `None` where
    /// the client cannot be told any more.
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
            Self::Disconnected => Some(4403),
            Self::TooSlow => Some(4408),
        }
    }

    /// The reason text in the close frame.
    #[cfg(feature = "websocket")]
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Gone | Self::Unanswered => "",
            Self::Protocol => "not WebSocket",
            Self::Binary => "text messages only",
            Self::Malformed => "not JSON",
            Self::TooLarge => "message too large",
            Self::Restart => "service restart",
            Self::OverLimit => "too many connections, try again later",
            Self::SessionEnded => "session ended",
            Self::Disconnected => "disconnected by the backend",
            Self::TooSlow => "too slow",
        }
    }

    /// The name in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Unanswered => "unanswered",
            Self::Protocol => "protocol",
            Self::Binary => "binary",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Restart => "restart",
            Self::OverLimit => "over_limit",
            Self::SessionEnded => "session_ended",
            Self::Disconnected => "disconnected",
            Self::TooSlow => "too_slow",
        }
    }
}
