//! What Doorstep's tests are made with: the harness and the port contract suites.

pub mod contract;
pub mod memory;
pub mod postgres;
pub mod simulation;
