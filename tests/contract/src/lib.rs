//! The promises of each port of Doorstep, as a suite that any adapter can run; and every port in memory, for tests.
//!
//! Each suite takes an adapter, uses it as delivery would, and panics, as a test does, where a promise of the port's
//! documentation does not hold. The message begins with the name of the promise and says what was expected and what
//! came.
//!
//! | you bring | run | what it needs |
//! | --- | --- | --- |
//! | live connections: a registry and a transport | [`presence_and_pusher`] | a [`DoorUnderTest`] that opens and closes clients |
//! | a store | [`inbox()`], [`retention()`], [`handover()`], [`accounts()`], [`ledger()`], [`positions()`], [`sessions()`], [`audit()`] | the store behind its port |
//! | the outbox of a backend | [`source::check_source`] | a [`source::SourceUnderTest`] |
//! | a log between nodes | [`log::check_log`] | a [`log::LogUnderTest`] |
//!
//! For a registry of your own:
//!
//! ```
//! use std::sync::Arc;
//!
//! use doorstep_contract::memory_door::MemoryDoor;
//! use doorstep_contract::presence_and_pusher;
//!
//! # #[tokio::main]
//! # async fn main() {
//! // Yours in its place: implement `DoorUnderTest` for it.
//! let mine = Arc::new(MemoryDoor::open());
//! presence_and_pusher(mine).await;
//! # }
//! ```
//!
//! For a store of your own:
//!
//! ```
//! use std::sync::Arc;
//!
//! use doorstep_contract::memory::Memory;
//!
//! # #[tokio::main]
//! # async fn main() {
//! doorstep_contract::inbox(Arc::new(Memory::default())).await;
//! let empty = Arc::new(Memory::default());
//! doorstep_contract::retention(empty.clone(), empty).await;
//! # }
//! ```
//!
//! Users and notifications are new in every run, so several suites can use one store. Only [`handover()`],
//! [`retention()`] and [`audit()`] need a store that holds nothing else.
//!
//! [`wrong`] has adapters that each break one promise, and a test shows that the suites notice. Run
//! `cargo run -p doorstep-contract --example wrong_adapters` for the table.
#![allow(clippy::missing_panics_doc, reason = "to panic is how these say that a promise is broken")]

mod accounts;
mod audit;
mod clause;
mod door;
mod handover;
mod inbox;
mod lease;
mod ledger;
pub mod log;
pub mod memory;
pub mod memory_door;
pub mod memory_lease;
pub mod memory_log;
pub mod memory_source;
mod positions;
mod retention;
mod sample;
mod sessions;
pub mod source;
pub mod wrong;

/// The guide compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/adapters.md")]
mod guide {}

pub use accounts::accounts;
pub use audit::audit;
pub use clause::Clause;
pub use door::{CLAUSES as DOOR_CLAUSES, DoorUnderTest, presence_and_pusher};
pub use handover::handover;
pub use inbox::inbox;
pub use lease::{closing_under_a_lease, lease};
pub use ledger::ledger;
pub use positions::positions;
pub use retention::retention;
pub use sessions::sessions;
