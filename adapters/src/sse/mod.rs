//! `GET /v1/notifications/stream`: the same notifications as Server-Sent Events (WHATWG HTML, section 9.2), for
//! networks that do not let a WebSocket pass.
//!
//! Each event's `id` is the notification's id, and its `data` is the frame that a WebSocket would carry. Clients
//! send nothing back on a stream, so it is a plain connection: an event counts as delivered once it has been
//! handed to the HTTP connection and flushed as far as the socket takes it. A client that reconnects names the
//! last event that it received in `Last-Event-ID`, and does not get that one again. *Only that one*: after a
//! repeated push it is not certain which events came before it, and clients drop ids that they know.
//!
//! A stream that the server ends has the last event `closing`, with the code with which a WebSocket would have
//! been closed: 1012, 4401 or 4408. A `heartbeat` is sent now and then, so that clients, proxies and sockets
//! notice when the other end is gone.
//!
//! | file | contents |
//! | --- | --- |
//! | `endpoint` | the request, up to the first byte of the body |
//! | `events` | the body |
//! | `watch` | ends a stream without waiting for its socket |

mod endpoint;
mod events;
#[cfg(test)]
mod tests;
mod watch;

pub use endpoint::{Description, SseParts, router};
