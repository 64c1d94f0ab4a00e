//! Now or never: a notification that is offered once, by every node, to whoever is there when it is accepted.

use std::sync::Arc;
use std::time::Duration;

use doorstep_domain::ports::{Attempt, Pushed};
use doorstep_domain::{Notification, Outcome, Timestamp, Ttl};

use super::Cluster;

/// A node that reads it later than this after it was accepted does not offer it.
const FRESH: Duration = Duration::from_secs(1);

impl Cluster {
    /// Offers it if it is fresh. If nobody takes it anywhere, it expires.
    pub(super) fn offer_once(self: &Arc<Self>, n: Notification, accepted: Timestamp) {
        let (this, fresh) = (self.clone(), accepted + FRESH);
        self.cx.tasks.now_or_later(async move {
            let taken = this.cx.clock.now() < fresh && this.is_taken(&n, fresh).await;
            if !taken && this.cx.tasks.stop().is_cancelled() {
                // The other nodes say that it expires: this one may read no more, and could not tell it.
                return;
            }
            let outcome = if taken { Outcome::Delivered } else { Outcome::Expired };
            // It expires when it is not fresh any more, and not when its TTL of 0 ends.
            let ttl = Ttl::new(FRESH).unwrap_or(Ttl::ZERO);
            let n = Notification { created_at: accepted, ttl: Some(ttl), ..n };
            this.decisions.propose(&n, outcome);
        });
    }

    async fn is_taken(&self, n: &Notification, deadline: Timestamp) -> bool {
        if !self.cx.is_online(&n.user_id).await {
            return false;
        }
        let push = self.cx.push(n, Attempt::FIRST, deadline);
        let taken = tokio::select! {
            biased;
            taken = push => taken,
            () = self.cx.tasks.stop().cancelled() => return false,
        };
        matches!(taken, Ok(Pushed::Written | Pushed::InFlight))
    }
}
