//! `GET /v1/ws`: notifications over WebSocket (RFC 6455).
//!
//! Each connection has a task and an outbox of its own. It is registered in
//! [`Connections`](crate::connections::Connections) before it is announced as arrived, and removed before it is
//! announced as departed, for whatever reason it ends.

mod client_frame;
mod close;
mod close_frame;
mod conversation;
#[cfg(test)]
mod frames_of_strangers;
mod handshake;
mod heartbeat;
mod settings;
#[cfg(test)]
mod tests;
mod upgrade;

pub use settings::WebSocketSettings;
pub use upgrade::{Description, WebSocketParts, router};
