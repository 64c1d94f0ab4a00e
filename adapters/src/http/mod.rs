//! The HTTP machinery that every endpoint uses. It knows no endpoint and no business rule.
//!
//! [`Endpoints`] adds to the endpoint families (`api`, `publish`, `websocket`, `sse`) what they all share. [`serve`]
//! serves them.
//!
//! | file | contents |
//! | --- | --- |
//! | `endpoints` | what all endpoint families share |
//! | `server`, `pace` | connections, their limits and timeouts |
//! | `client_address`, `trusted_proxies` | the client's address |
//! | `rate_limit`, `limit_log` | the request rate per address, and the log of reached limits |
//! | `bearer` | tokens |
//! | `body`, `large_body`, `fields`, `parameters` | reading requests |
//! | `answer`, `problem`, `time` | writing responses |
//! | `response_counts` | counting them |
//! | `message` | the requirements of RFC 9112 on requests |
//! | `origins`, `cors` | pages of other origins |
//! | `observe`, `trace` | request ids, log lines, panics; the trace of a request |
//! | `openapi` | the description of all endpoints |

mod answer;
mod bearer;
mod body;
mod client_address;
mod cors;
mod endpoints;
mod fields;
#[cfg(test)]
mod forwarded_by_strangers;
#[cfg(feature = "publish")]
mod large_body;
mod limit_log;
mod message;
#[cfg(test)]
pub(crate) mod mutated;
mod observe;
pub mod openapi;
mod origins;
mod pace;
mod parameters;
mod problem;
mod rate_limit;
mod response_counts;
mod server;
mod time;
mod trace;
mod trusted_proxies;

pub use answer::private_json;
pub use axum::Router;
pub use axum::http::HeaderName;
#[cfg(any(feature = "sse", feature = "websocket"))]
pub(crate) use bearer::authenticate;
pub use bearer::{bearer_token, signed_in};
pub(crate) use body::json_bytes;
#[cfg(any(feature = "sse", feature = "websocket"))]
pub(crate) use client_address::{ClientAddress, client};
pub use cors::for_origins;
pub use endpoints::Endpoints;
pub use fields::Fields;
#[cfg(feature = "publish")]
pub(crate) use large_body::LargeBodies;
#[cfg(any(feature = "sse", feature = "websocket"))]
pub(crate) use limit_log::LimitLog;
#[cfg(feature = "websocket")]
pub(crate) use origins::origin_may_connect;
pub use origins::{AllowedOrigins, NoOrigin};
#[cfg(any(feature = "sse", feature = "websocket"))]
pub(crate) use pace::Pace;
#[cfg(all(test, any(feature = "sse", feature = "websocket")))]
pub(crate) use pace::Paced;
pub use parameters::Parameters;
pub use problem::{FieldError, Problem};
pub(crate) use rate_limit::within_limit;
pub use rate_limit::{AddressLimit, Rate};
pub use response_counts::ResponseCounts;
#[cfg(feature = "tls")]
pub use server::TlsConfigs;
pub use server::{Address, BindError, Listener, ServerSettings, serve};
pub use time::rfc3339;
#[cfg(feature = "publish")]
pub(crate) use trace::trace_of;
pub use trusted_proxies::{Network, NoProxy, TrustedProxies, TrustedProxy};

/// The largest request body, in bytes, unless a route sets its own limit: 16 KiB.
pub const MAX_BODY_BYTES: usize = 16 * 1024;
