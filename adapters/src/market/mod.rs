//! Where prices come from: a [`Simulation`] that never ends, or the [`Replay`] of a file.
//!
//! *Invariant:* prices that leave this module are exact decimals. Floating point numbers are only used inside the
//! simulation, which generates them.

mod replay;
mod simulation;
mod walk;

pub use replay::{Replay, ReplayError};
pub use simulation::{Simulation, SimulationSettings};
pub use walk::{Instrument, Walk};
