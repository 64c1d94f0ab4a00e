//! Where prices come from: a [`Simulation`] that never ends, or the [`Replay`] of a file.
//!
//! *Invariant:* what leaves this module is exact. Floating point numbers live inside the simulation, which
//! makes prices up; once one is made, it is a decimal.

mod replay;
mod simulation;
mod walk;

pub use replay::{Replay, ReplayError};
pub use simulation::{Simulation, SimulationSettings};
pub use walk::{Instrument, Walk};
