//! Consuming an outbox: notifications that a backend wrote in a transaction of its own database.
//!
//! Against the port [`NotificationSource`](doorstep_domain::ports::NotificationSource), with
//! [`Publishing`](crate::publishing::Publishing) as the way in and the outcomes as the way back.
//!
//! | file | what |
//! | --- | --- |
//! | `consumer` | the lease, and what is done while it is held |
//! | `batch` | one batch: judged, accepted, published |
//! | `judge` | whether a row is a notification |
//! | `unended` | which rows are accepted and have not ended |
//!
//! **A row is published only after its move to the accepted ones is committed under the lease**, and it is removed from
//! there only after the notification has ended or is in the inbox. So a crash loses nothing, at whichever moment it
//! comes, and a consumer that has lost its lease publishes nothing more.

mod batch;
mod consumer;
mod judge;
mod unended;

pub use self::consumer::{Consumer, ConsumerParts, ConsumerState};
pub use self::unended::Unended;
