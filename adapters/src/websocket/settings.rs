use std::time::Duration;

use crate::http::AllowedOrigins;

/// The settings of WebSocket connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocketSettings {
    /// How often the server pings.
    pub ping_interval: Duration,
    /// How long a client may take to answer a ping; less than the interval.
    pub pong_timeout: Duration,
    /// How long a closing connection may take for its last frame and the client's close frame.
    pub close_grace: Duration,
    /// The same for a client that was too slow and may read on late.
    pub slow_close_grace: Duration,
    /// The largest message from a client, in bytes.
    pub max_client_bytes: usize,
    /// Origins of web pages that may connect, in addition to the server's own.
    pub allowed_origins: AllowedOrigins,
}

impl Default for WebSocketSettings {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(25),
            pong_timeout: Duration::from_secs(10),
            close_grace: Duration::from_secs(1),
            slow_close_grace: Duration::from_secs(10),
            max_client_bytes: 4 * 1024,
            allowed_origins: AllowedOrigins::default(),
        }
    }
}
