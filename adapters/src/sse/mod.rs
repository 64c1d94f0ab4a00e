//! `GET /v1/notifications/stream`: the same notifications as Server-Sent Events (WHATWG HTML, section 9.2),
//! for places where a WebSocket does not pass. A second implementation of [`Presence`] and [`Pusher`], and
//! the measure of what a transport costs: this folder, and a line in the composition root.
//!
//! Each event's `id` is the notification's, its `data` the frame that a WebSocket would carry. Nothing comes
//! back on such a stream, so it is a plain connection: an event counts as delivered once it has been handed
//! to the HTTP connection and that has been flushed as far as the socket takes it. What a client got all the
//! same it says on its return in `Last-Event-ID`, and is not pushed that one again. *Only that one*: after a
//! push that was repeated, what else came before it is not certain, and the client drops ids that it knows.
//!
//! The last event of a stream that the server ends is `closing`, with the code that a WebSocket would have
//! been closed with: 1012, 4401 or 4408. A comment goes out now and then, so that proxies and sockets notice
//! when nobody is there any more; nothing tells so sooner, which is what a WebSocket does better.
//!
//! [`Presence`]: doorstep_domain::ports::Presence
//! [`Pusher`]: doorstep_domain::ports::Pusher

mod endpoint;
mod events;
mod handle;
mod streams;
#[cfg(test)]
mod tests;

pub use endpoint::{Description, SseParts, router};
pub use streams::{Settings, Streams};
