//! Several nodes: the log in NATS, the other nodes, and what both mean for the readiness of this one.

#[cfg(feature = "cluster")]
mod joined;
#[cfg(not(feature = "cluster"))]
#[path = "alone.rs"]
mod joined;

use std::sync::Arc;
use std::time::Duration;

use doorstep_adapters::connections::Connections;
use doorstep_application::delivery::{Delivery, Standing};
use doorstep_domain::UserId;
use doorstep_domain::ports::{Presence, Readiness, Ready, StoreError};

pub(super) use self::joined::{ClusterNode, join};

/// Ready is a node whose store answers, and that has read what the other nodes have accepted.
pub(super) struct NodeReadiness {
    pub(super) store: Arc<dyn Readiness>,
    pub(super) delivery: Arc<Delivery>,
}

#[async_trait::async_trait]
impl Readiness for NodeReadiness {
    async fn check(&self) -> Result<Ready, StoreError> {
        let store = self.store.check().await?;
        if !self.delivery.serves_arrivals() {
            return Ok(Ready::NotYet(
                "this node has not yet read what the other nodes have accepted".into(),
            ));
        }
        let standing = self.delivery.standing().map(|standing| standing.borrow().clone());
        Ok(match standing {
            Some(Standing::CutOff(why)) => {
                Ready::Degraded(format!("cut off from the log of the cluster: {why}"))
            }
            _ => store,
        })
    }
}

/// Whether a user is connected at this node or at another.
pub(super) struct Anywhere {
    pub(super) here: Arc<dyn Presence>,
    pub(super) elsewhere: Arc<dyn Presence>,
}

#[async_trait::async_trait]
impl Presence for Anywhere {
    async fn is_online(&self, user: &UserId) -> bool {
        self.here.is_online(user).await || self.elsewhere.is_online(user).await
    }

    async fn is_reading(&self, user: &UserId) -> bool {
        self.here.is_reading(user).await || self.elsewhere.is_reading(user).await
    }
}

/// How many users are looked for at a time, and the pause after them: an inbox is asked for each.
const LOOKED_FOR: (usize, Duration) = (100, Duration::from_millis(50));

/// Tells in the log when this node is up to date, and then looks for what those who stayed connected may have missed.
pub(super) async fn watch(delivery: Arc<Delivery>, connections: Arc<Connections>) {
    let Some(mut standing) = delivery.standing() else { return };
    while standing.changed().await.is_ok() {
        let up_to_date = *standing.borrow_and_update() == Standing::UpToDate;
        if up_to_date {
            let counts = delivery.cluster_counts().unwrap_or_default();
            tracing::info!(
                entries = counts.entries,
                open = counts.open,
                "up to date with the log of the cluster"
            );
            for some in connections.users().chunks(LOOKED_FOR.0) {
                for user in some {
                    delivery.look_into_inbox(user);
                }
                tokio::time::sleep(LOOKED_FOR.1).await;
            }
        }
    }
}
