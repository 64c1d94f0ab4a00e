//! The test harness and the contract suites of the ports.

pub mod browser;
pub mod client;
pub mod contract;
pub mod freezing_proxy;
pub mod memory;
pub mod memory_log;
pub mod memory_source;
pub mod nats;
pub mod pgbouncer;
pub mod postgres;
pub mod reverse_proxy;
pub mod scrape;
pub mod server;
pub mod simulation;
pub mod small_disk;
pub mod tls;

/// The README's example compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}
