//! Raises a domain event for each notification that ends.

use std::sync::Arc;

use async_trait::async_trait;
use doorstep_domain::ports::{EventPublisher, Outcomes};
use doorstep_domain::{DomainEvent, Ended};

/// Raises [`DomainEvent::NotificationEnded`] for every notification that a delivery ends.
///
/// It waits while a handler's queue is full; delivery and the other observers do not. A handler of these events must
/// not wait until a notification is accepted: see [`Outcomes`].
pub struct OutcomeAnnouncer(Arc<dyn EventPublisher>);

opaque!(OutcomeAnnouncer);

impl OutcomeAnnouncer {
    /// Creates one that raises the events here.
    pub fn new(events: Arc<dyn EventPublisher>) -> Self {
        Self(events)
    }
}

#[async_trait]
impl Outcomes for OutcomeAnnouncer {
    async fn ended(&self, ended: Vec<Ended>) {
        for end in ended {
            // A bus that has stopped has no listeners. The log line and the counter are written anyway.
            if self.0.publish(DomainEvent::NotificationEnded(end)).await.is_err() {
                return;
            }
        }
    }
}
