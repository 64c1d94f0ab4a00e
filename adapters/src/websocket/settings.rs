use std::time::Duration;

/// How live connections are treated, and how many there may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How often the server pings.
    pub ping_interval: Duration,
    /// How long a client has for an answer to a ping; less than the interval.
    pub pong_timeout: Duration,
    /// How long a closing connection has for its last frame and the client's goodbye.
    pub close_grace: Duration,
    /// So many frames may wait for a connection's socket; with one more it is too slow.
    pub queue_frames: usize,
    /// The largest message from a client, in bytes.
    pub max_client_bytes: usize,
    /// Connections of one user.
    pub max_per_user: usize,
    /// Connections from one address.
    pub max_per_address: usize,
    /// Connections of this node.
    pub max_connections: usize,
    /// Origins of web pages that may connect besides the server's own, as a browser writes them:
    /// `https://app.example.com`.
    pub allowed_origins: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(25),
            pong_timeout: Duration::from_secs(10),
            close_grace: Duration::from_secs(1),
            queue_frames: 256,
            max_client_bytes: 4 * 1024,
            max_per_user: 20,
            max_per_address: 1000,
            max_connections: 100_000,
            allowed_origins: Vec::new(),
        }
    }
}
