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
//! | `in_transit` | the rows on their way from the source to delivery |
//! | `unended` | which rows are accepted and have not ended |
//! | `withdraw` | taking rows back that delivery does not know yet |
//!
//! **A row is published only after its move to the accepted ones is committed under the lease**, and it is removed from
//! there only after the notification has ended or is in the inbox. So a crash loses nothing, at whichever moment it
//! comes, and a consumer that has lost its lease publishes nothing more.

mod batch;
mod consumer;
mod in_transit;
mod judge;
mod unended;
mod withdraw;

pub use self::consumer::{Consumer, ConsumerParts, ConsumerState};
pub use self::in_transit::InTransit;
pub use self::unended::Unended;
pub use self::withdraw::Withdrawals;
