//! The test harness. The contract suites of the ports are a crate of their own.

pub mod browser;
pub mod client;
pub mod freezing_proxy;
pub mod nats;
pub mod pgbouncer;
pub mod postgres;
pub mod reverse_proxy;
pub mod scrape;
pub mod server;
pub mod simulation;
pub mod small_disk;
pub mod tls;

pub use doorstep_contract as contract;
pub use doorstep_contract::{memory, memory_log, memory_source};

/// The program of the page about embedding compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../../docs/embed.md")]
mod embed {}
