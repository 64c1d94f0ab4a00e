//! The live connections of this node, whatever transport they use: its [`Presence`] and [`Pusher`].
//!
//! A transport (`websocket`, `sse`) registers a connection, announces it with `arrived`, writes what its outbox
//! holds, and drops the registration at the end. It differs from the others only in how a frame is written and
//! what a close looks like.
//!
//! *A push never waits for a socket.* It puts a frame into the connection's bounded outbox, or reports that there
//! is no room; the connection calls for more when its socket has taken what is there. *One connection never holds
//! up another* for longer than [`Settings::keeps_pace_within`].
//!
//! | file | what |
//! | --- | --- |
//! | `settings` | the limits, and the times after which a socket counts as slow or dead |
//! | `registry` | who is connected; taking connections in, closing them, stopping |
//! | `registered` | one place in the registry, and what its end undoes |
//! | `push` | handing a notification to a user's connections |
//! | `connection` | what the registry knows of one connection |
//! | `outbox`, `handed` | the frames that wait for its socket; what it was handed |
//! | `pace` | since when a socket takes no bytes |
//! | `retract` | telling clients to take a notification away |
//! | `frame`, `close` | a notification on the wire; why a connection ends |
//! | `session` | the end of a connection's session |
//!
//! [`Presence`]: doorstep_domain::ports::Presence
//! [`Pusher`]: doorstep_domain::ports::Pusher

mod close;
mod connection;
mod frame;
mod handed;
mod outbox;
mod push;
mod registered;
mod registry;
mod retract;
mod session;
mod settings;
#[cfg(test)]
mod tests;

pub(crate) use crate::http::{Pace, Paced};
pub use close::CloseReason;
pub(crate) use connection::Connection;
pub(crate) use frame::Frame;
pub(crate) use outbox::{Outgoing, Room};
pub(crate) use registered::{Line, Newcomer, Registered};
pub use registry::{Connections, Refusal, Traffic, Transport};
pub(crate) use retract::RetractReason;
pub(crate) use session::session_over;
pub use settings::Settings;
