//! The order of a stop, from the outside in: nobody new; connections are told to come back; requests end; prices
//! stop; the events under way are handled; what waits is handed over; the last events and the webhook; the store.

use futures_util::future::join;
use tokio::time::{Instant, timeout_at};

use super::Node;
use super::node::RunningMarket;

impl Node {
    /// Stops without losing what waits. Takes no longer than configured; each step leaves time for those after
    /// it. Returns how many notifications were lost, because nothing took them.
    pub(crate) async fn stop(self) -> usize {
        let begun = Instant::now();
        let share = self.stop_within / 10;
        self.core.stopping.cancel();
        let left = self.core.connections.stop(share * 2).await;
        if left > 0 {
            tracing::warn!(connections = left, "did not say goodbye in time");
        }
        if timeout_at(begun + share * 4, self.http).await.is_err() {
            tracing::warn!("requests were cut short");
        }
        if let Some(RunningMarket { prices, closing }) = self.market {
            closing.cancel();
            if timeout_at(begun + share * 5, prices).await.is_err() {
                tracing::warn!(
                    "positions that the price had crossed were left open; the next start closes them"
                );
            }
        }
        if timeout_at(begun + share * 6, self.bus.quiet()).await.is_err() {
            tracing::warn!("events were left; the next start reconciles what follows from them");
        }
        let end = begun + self.stop_within;
        let patience = (end - share).saturating_duration_since(Instant::now());
        let stopped = self.core.delivery.stop(patience).await;
        if let Some(outbox) = self.outbox {
            outbox.stop(share).await;
        }
        // Last, because what the stop has ended is told too: as an event, and by the webhook.
        let (events, ()) = join(timeout_at(end, self.bus.stop()), self.backends.stop(share)).await;
        if events.is_err() {
            tracing::warn!("handlers were still busy");
        }
        if let Some(store) = self.store
            && timeout_at(end, store.disconnect()).await.is_err()
        {
            tracing::debug!("the store was still busy");
        }
        tracing::info!(handed_over = stopped.handed_over, took = ?begun.elapsed(), "stopped");
        stopped.dropped
    }
}
