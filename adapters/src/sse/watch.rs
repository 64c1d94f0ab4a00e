use std::sync::Arc;

use doorstep_domain::Timestamp;
use doorstep_domain::ports::Clock;

use crate::connections::{CloseReason, Connection, Connections, Registered, session_over};

/// Ends the stream when its connection is closed, its socket is too slow or its session is over, and frees its
/// place at once: the body is only polled while the socket takes bytes, so it cannot do this.
pub(super) fn watch(
    connections: &Connections,
    registered: Registered,
    clock: Arc<dyn Clock>,
    expires_at: Timestamp,
) {
    let too_slow_after = connections.too_slow_after();
    connections.tasks.spawn(async move {
        let connection = registered.line().connection();
        let reason = tokio::select! {
            biased;
            reason = connection.closed() => reason,
            () = session_over(&*clock, expires_at) => CloseReason::SessionEnded,
            () = connection.blocked_for(too_slow_after) => CloseReason::TooSlow,
        };
        registered.end(reason);
    });
}

/// Closes the connection when the body is dropped: the client is gone.
pub(super) struct EndOfBody(pub(super) Arc<Connection>);

impl Drop for EndOfBody {
    fn drop(&mut self) {
        self.0.close(CloseReason::Gone);
    }
}
