//! The promises of each port of Doorstep, as a suite that any adapter can run; and every port in memory, for tests.
//!
//! Each suite takes an adapter, uses it as delivery would, and panics, as a test does, where a promise of the port's
//! documentation does not hold. The message begins with the name of the promise and says what was expected and what
//! came.
//!
//! | you bring | run | what it needs |
//! | --- | --- | --- |
//! | live connections: a registry and a transport | [`presence_and_pusher`] | a [`DoorUnderTest`] that opens and closes clients |
//! | a store | [`inbox()`], [`retention()`], [`handover()`], [`accounts()`], [`ledger()`], [`positions()`], [`lease()`], [`closing_under_a_lease`], [`sessions()`], [`audit()`] | the store behind its port |
//! | the same, which is durable | [`durable_inbox`], [`durable_handover`], [`durable_accounts`], [`durable_ledger`], [`durable_positions`], [`durable_lease`], [`durable_sessions`] | a place that [`Reopens`] it |
//! | the outbox of a backend | [`source::check_source`] | a [`source::SourceUnderTest`] |
//! | a log between nodes | [`log::check_log`] | a [`log::LogUnderTest`] |
//! | who gets in | [`authenticator()`] | an [`AuthenticatorUnderTest`] that issues tokens |
//! | a clock, ids, passwords, tokens | [`clock()`], [`ids()`], [`passwords()`], [`tokens()`] | the adapter behind its port |
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
//! [`retention()`] and [`audit()`] need a store that holds nothing of their kind.
//!
//! Each promise is a [`Clause`], and [`all_clauses`] has all of them. [`wrong`] has adapters that each break one promise,
//! and a test shows that the suites notice. Run `cargo run -p doorstep-contract --example wrong_adapters` for the table,
//! and `--example promises` for the promises.
#![allow(clippy::missing_panics_doc, reason = "to panic is how these say that a promise is broken")]

mod accounts;
mod audit;
mod authenticator;
mod clause;
mod clock;
mod door;
mod handover;
mod ids;
mod inbox;
mod lease;
mod ledger;
pub mod log;
pub mod memory;
pub mod memory_bank;
pub mod memory_door;
pub mod memory_identity;
pub mod memory_log;
pub mod memory_source;
mod passwords;
mod positions;
mod reopens;
mod retention;
mod sample;
mod sessions;
mod shown;
pub mod source;
mod tokens;
pub mod wrong;

/// The guide compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/adapters.md")]
mod guide {}

pub use accounts::{CLAUSES as ACCOUNTS_CLAUSES, accounts, durable_accounts};
pub use audit::{CLAUSES as AUDIT_CLAUSES, audit};
pub use authenticator::{AuthenticatorUnderTest, CLAUSES as AUTHENTICATOR_CLAUSES, authenticator};
pub use clause::Clause;
pub use clock::{CLAUSES as CLOCK_CLAUSES, clock};
pub use door::{
    CLAUSES as DOOR_CLAUSES, DoorUnderTest, EXEMPTABLE as DOOR_EXEMPTABLE, presence_and_pusher,
};
pub use handover::{CLAUSES as HANDOVER_CLAUSES, durable_handover, handover};
pub use ids::{CLAUSES as IDS_CLAUSES, ids};
pub use inbox::{CLAUSES as INBOX_CLAUSES, durable_inbox, inbox};
pub use lease::{CLAUSES as LEASE_CLAUSES, closing_under_a_lease, durable_lease, lease};
pub use ledger::{CLAUSES as LEDGER_CLAUSES, durable_ledger, ledger};
pub use passwords::{CLAUSES as PASSWORDS_CLAUSES, passwords};
pub use positions::{CLAUSES as POSITIONS_CLAUSES, durable_positions, positions};
pub use reopens::Reopens;
pub use retention::{CLAUSES as RETENTION_CLAUSES, retention};
pub use sessions::{CLAUSES as SESSIONS_CLAUSES, durable_sessions, sessions};
pub use tokens::{CLAUSES as TOKENS_CLAUSES, tokens};

/// The promises of all suites.
pub fn all_clauses() -> impl Iterator<Item = Clause> {
    let suites: [&[Clause]; 17] = [
        &DOOR_CLAUSES,
        INBOX_CLAUSES,
        RETENTION_CLAUSES,
        HANDOVER_CLAUSES,
        ACCOUNTS_CLAUSES,
        LEDGER_CLAUSES,
        SESSIONS_CLAUSES,
        POSITIONS_CLAUSES,
        LEASE_CLAUSES,
        AUDIT_CLAUSES,
        source::CLAUSES,
        log::CLAUSES,
        CLOCK_CLAUSES,
        IDS_CLAUSES,
        PASSWORDS_CLAUSES,
        TOKENS_CLAUSES,
        AUTHENTICATOR_CLAUSES,
    ];
    suites.into_iter().flatten().copied()
}
