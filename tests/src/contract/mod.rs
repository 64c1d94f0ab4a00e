//! The promises of each port, as a suite that every adapter runs.
//!
//! Each function takes the adapter behind its port, writes through it and reads back what it wrote. It panics,
//! as a test does, where a promise of the port's documentation does not hold. For your own store:
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use doorstep_tests::contract;
//!
//! # async fn run() -> Result<(), doorstep_adapters::sql::ConnectError> {
//! let store = Arc::new(doorstep_adapters::sql::connect("sqlite::memory:").await?);
//! contract::accounts(store.clone()).await;
//! contract::inbox(store).await;
//! # Ok(())
//! # }
//! ```
//!
//! Users and notifications are new in every run, so several suites can use one store. Only [`handover()`],
//! [`retention()`] and [`audit()`] need a store that holds nothing else.
#![allow(clippy::missing_panics_doc, reason = "to panic is how these say that a promise is broken")]

mod accounts;
mod audit;
mod handover;
mod inbox;
mod ledger;
pub mod log;
mod positions;
mod retention;
mod sample;
mod sessions;
pub mod source;

pub use accounts::accounts;
pub use audit::audit;
pub use handover::handover;
pub use inbox::inbox;
pub use ledger::ledger;
pub use positions::positions;
pub use retention::retention;
pub use sessions::sessions;
