//! `GET /v1/ws`: notifications over WebSocket (RFC 6455).
//!
//! Each connection is first registered in [`Connections`](crate::connections::Connections) and then announced as
//! arrived; at its end it is first removed and then announced as departed, for whatever reason it ended. Each
//! connection has a task and an outbox of its own.

mod client_frame;
mod close;
mod conversation;
mod handshake;
mod settings;
#[cfg(test)]
mod tests;
mod upgrade;

pub use settings::Settings;
pub use upgrade::{Description, WebSocketParts, router};
