//! The live connections of this node, whatever transport they use: its [`Presence`] and [`Pusher`].
//!
//! A transport (`websocket`, `sse`) registers a connection, announces it with `arrived`, writes the frames in its
//! outbox, and drops the registration at the end. Transports differ only in how they write a frame and how they
//! close.
//!
//! *A push never waits for a socket.* It puts a frame into the connection's bounded outbox, or reports that the
//! outbox is full; the connection asks for more when its socket has taken the frames. *No connection holds up
//! another* for longer than [`ConnectionSettings::keeps_pace_within`].
//!
//! | file | contents |
//! | --- | --- |
//! | `settings` | the numbers: limits, and the times after which a socket counts as slow or dead |
//! | `limits` | enforces the limits per user, per address and per node |
//! | `too_slow` | when a connection is closed with 4408 |
//! | `registry` | the live connections: registering, closing, stopping |
//! | `drain` | closing them all at a stop, spread over a time |
//! | `registered` | a registered connection, and what its end undoes |
//! | `push` | handing a notification to a user's connections |
//! | `connection` | what the registry knows about one connection |
//! | `outbox`, `handed` | the frames that wait for its socket; the notifications that it was handed |
//! | `retract` | telling clients to take a notification away |
//! | `frame` | a notification on the wire |
//! | `disconnect_reason` | why a connection ends, with its close code |
//! | `session` | the end of a connection's session |
//!
//! [`Presence`]: doorstep_domain::ports::Presence
//! [`Pusher`]: doorstep_domain::ports::Pusher

mod connection;
mod disconnect_reason;
mod drain;
mod frame;
mod handed;
mod limits;
mod outbox;
mod push;
mod registered;
mod registry;
mod retract;
mod session;
mod settings;
#[cfg(test)]
mod tests;
mod too_slow;

pub(crate) use crate::http::Pace;
#[cfg(test)]
pub(crate) use crate::http::Paced;
pub(crate) use connection::Connection;
pub use disconnect_reason::DisconnectReason;
pub(crate) use frame::Frame;
pub use limits::ConnectionRefusal;
pub(crate) use outbox::{Outgoing, Room};
pub(crate) use registered::{DeliveryLink, Newcomer, Registered};
pub use registry::{Connections, Traffic, Transport};
pub(crate) use session::session_over;
pub use settings::ConnectionSettings;
pub(crate) use too_slow::too_slow;
