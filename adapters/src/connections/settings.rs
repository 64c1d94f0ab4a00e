use std::time::Duration;

/// The limits on connections, and the times after which a socket counts as slow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionSettings {
    /// Connections per user, over all transports.
    pub max_per_user: usize,
    /// Connections per address, over all transports.
    pub max_per_address: usize,
    /// WebSocket connections of this node.
    pub max_websockets: usize,
    /// Streams (Server-Sent Events) of this node. Each also takes one of the server's HTTP connections.
    pub max_streams: usize,
    /// The number of frames that may wait for one connection's socket.
    pub outbox_frames: usize,
    /// While a socket has taken a byte within this time, pushes to its user go at its pace, so that every
    /// connection that reads gets all of them. A slower one is passed over until it has room.
    pub keeps_pace_within: Duration,
    /// A user counts as reading while one of their sockets has taken a byte within this time, or has nothing to
    /// write.
    pub reads_within: Duration,
    /// A connection is closed as too slow when its socket has taken no byte for this long while frames wait.
    pub too_slow_after: Duration,
}

impl Default for ConnectionSettings {
    fn default() -> Self {
        Self {
            max_per_user: 20,
            max_per_address: 1000,
            max_websockets: 100_000,
            max_streams: 5000,
            outbox_frames: 256,
            keeps_pace_within: Duration::from_secs(1),
            reads_within: Duration::from_secs(5),
            too_slow_after: Duration::from_secs(10),
        }
    }
}
