//! `GET /v1/notifications/stream`: the same notifications as Server-Sent Events (WHATWG HTML, section 9.2),
//! for networks that a WebSocket does not pass.
//!
//! Each event's `id` is the notification's, its `data` the frame that a WebSocket would carry. Nothing comes
//! back on such a stream, so it is a plain connection: an event counts as delivered once it has been handed
//! to the HTTP connection and that has been flushed as far as the socket takes it. On its return a client says
//! in `Last-Event-ID` which one it got last, and is not pushed that one again. *Only that one*: after a push
//! that was repeated, it is not certain what came before it, and the client drops ids that it knows.
//!
//! The last event of a stream that the server ends is `closing`, with the code that a WebSocket would have
//! been closed with: 1012, 4401 or 4408. A `heartbeat` goes out now and then, so that clients, proxies and sockets
//! notice when the other end is gone.
//!
//! | file | what |
//! | --- | --- |
//! | `endpoint` | the request, up to the first byte of the body |
//! | `events` | the body |
//! | `watch` | the end of a stream, which does not wait for its socket |

mod endpoint;
mod events;
#[cfg(test)]
mod tests;
mod watch;

pub use endpoint::{Description, SseParts, router};
