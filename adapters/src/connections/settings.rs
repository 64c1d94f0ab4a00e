use std::time::Duration;

/// How many connections there may be, and when a socket counts as slow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Connections of one user, over all transports.
    pub max_per_user: usize,
    /// Connections from one address, over all transports.
    pub max_per_address: usize,
    /// WebSocket connections of this node.
    pub max_websockets: usize,
    /// Streams (Server-Sent Events) of this node. Each also takes one of the server's HTTP connections.
    pub max_streams: usize,
    /// This many frames may wait for one connection's socket.
    pub outbox_frames: usize,
    /// While a socket has taken a byte within this time, the pushes to its user go at its pace, so that every
    /// connection that reads gets all of them. One that is slower is passed over until it has room.
    pub keeps_pace_within: Duration,
    /// A user reads while a socket of theirs has taken a byte within this time, or has nothing to take.
    pub reads_within: Duration,
    /// A connection whose socket has taken no byte for this long while frames wait is closed: too slow.
    pub too_slow_after: Duration,
}

impl Default for Settings {
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
