use std::sync::Arc;

use doorstep_domain::Timestamp;
use doorstep_domain::ports::Clock;

use crate::connections::{
    Connection, Connections, DisconnectReason, Registered, session_over, too_slow,
};

/// Ends the stream when its connection is closed, its socket is too slow or its session has ended, and frees its
/// place at once. The body cannot do this: it is only polled while the socket takes bytes.
pub(super) fn watch(
    connections: &Connections,
    registered: Registered,
    clock: Arc<dyn Clock>,
    expires_at: Timestamp,
) {
    let too_slow_after = connections.too_slow_after();
    connections.tasks.spawn(async move {
        let connection = registered.link().connection();
        let reason = tokio::select! {
            biased;
            reason = connection.closed() => reason,
            () = session_over(&*clock, expires_at) => DisconnectReason::SessionEnded,
            reason = too_slow(&connection.pace, too_slow_after) => reason,
        };
        registered.end(reason);
    });
}

/// Closes the connection when the body is dropped, because the client is gone.
pub(super) struct EndOfBody(pub(super) Arc<Connection>);

impl Drop for EndOfBody {
    fn drop(&mut self) {
        self.0.close(DisconnectReason::Gone);
    }
}
