//! Tells the bus how notifications end.

use std::sync::Arc;

use async_trait::async_trait;
use doorstep_domain::ports::{EventPublisher, Outcomes};
use doorstep_domain::{DomainEvent, Ended};

/// Makes each end of a notification a domain event.
pub(crate) struct Announce(pub(crate) Arc<dyn EventPublisher>);

#[async_trait]
impl Outcomes for Announce {
    async fn ended(&self, ended: Vec<Ended>) {
        for end in ended {
            // A bus that has stopped has nobody left who would listen; the log line and the counter stand.
            if self.0.publish(DomainEvent::NotificationEnded(end)).await.is_err() {
                return;
            }
        }
    }
}
