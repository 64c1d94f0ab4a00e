//! The order of a stop, from the outside in: accept nobody new; tell clients to reconnect; finish requests; stop
//! prices; handle pending events; hand over waiting notifications; handle the last events and send the last outcomes
//! to the webhook; disconnect the store.

use futures_util::future::join;
use tokio::time::{Instant, timeout_at};

use super::RunningNode;
use super::node::RunningMarket;

impl RunningNode {
    /// Stops without losing what waits, within `server.stop_within`: each step leaves time for the steps after it.
    /// Returns how many notifications were lost because the store did not take them.
    pub(crate) async fn stop(self) -> usize {
        let stop_begun = Instant::now();
        let end = stop_begun + self.stop_within;
        self.core.stopping.cancel();
        self.core.connections.drain(self.drain.min(self.stop_within / 2)).await;
        // The other steps share what the drain has left.
        let begun = Instant::now();
        let share = end.saturating_duration_since(begun) / 10;
        let left = self.core.connections.stop(share * 2).await;
        if left > 0 {
            tracing::warn!(connections = left, "connections did not close in time");
        }
        if timeout_at(begun + share * 4, self.http).await.is_err() {
            tracing::warn!("requests were cut short");
        }
        if let Some(RunningMarket { mut prices, closing, watcher }) = self.market {
            closing.give();
            if timeout_at(begun + share * 5, &mut prices).await.is_err() {
                // What has begun is done before the handlers of its events stop.
                watcher.leave_the_rest();
                if timeout_at(begun + share * 6, &mut prices).await.is_err() {
                    tracing::warn!("positions are still being closed");
                }
            }
        }
        if timeout_at(begun + share * 7, self.bus.quiet()).await.is_err() {
            tracing::warn!(
                "events were not handled in time; the next start reconciles their rewards"
            );
        }
        let patience = (end - share).saturating_duration_since(Instant::now());
        let stopped = self.core.delivery.stop(patience).await;
        if let Some(cluster) = &self.cluster {
            cluster.leave().await;
        }
        if let Some(outbox) = self.outbox {
            outbox.stop(share).await;
        }
        // After delivery, because the outcomes of its stop become events and webhook messages too.
        let (events, ()) = join(timeout_at(end, self.bus.stop()), self.backends.stop(share)).await;
        if events.is_err() {
            tracing::warn!("handlers were still busy");
        }
        if timeout_at(end, self.stores.disconnect()).await.is_err() {
            tracing::debug!("a store was still busy");
        }
        tracing::info!(handed_over = stopped.handed_over, took = ?stop_begun.elapsed(), "stopped");
        stopped.dropped
    }
}
