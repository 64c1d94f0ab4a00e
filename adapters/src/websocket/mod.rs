//! `GET /v1/ws`: live connections, and with them the [`Presence`] and [`Pusher`] of this node.
//!
//! [`Connections`] is the registry; it can be made before the delivery that pushes through it. [`router`]
//! brings the two together: each connection is first registered and then announced as arrived, and at its
//! end first removed and then announced as departed, whatever ended it.
//!
//! *A push never waits for a socket*: it puts a frame into the connection's bounded queue or closes the
//! connection. *One connection never holds up another*: each has a task and a queue of its own.
//!
//! [`Presence`]: doorstep_domain::ports::Presence
//! [`Pusher`]: doorstep_domain::ports::Pusher

mod close;
mod connection;
mod connections;
mod frame;
mod handle;
mod handshake;
mod settings;
#[cfg(test)]
mod tests;
mod upgrade;

pub use close::CloseReason;
pub use connections::{Connections, Stats};
pub use settings::Settings;
pub use upgrade::{Description, WebSocketParts, router};
