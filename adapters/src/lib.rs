//! The implementations of the ports of `doorstep-domain`, each in its own module behind a cargo feature.

#[cfg(feature = "http")]
pub mod api;
#[cfg(any(feature = "jwt", feature = "operator", feature = "probe", feature = "webhook"))]
mod authorities;
#[cfg(feature = "bus")]
pub mod bus;
#[cfg(any(feature = "sse", feature = "websocket"))]
pub mod connections;
#[cfg(any(feature = "jwt", feature = "operator", feature = "probe", feature = "webhook"))]
mod error_chain;
pub mod figures;
#[cfg(feature = "http")]
pub mod http;
#[cfg(any(feature = "jwt", feature = "operator", feature = "webhook"))]
mod https;
#[cfg(feature = "jwt")]
pub mod jwt;
#[cfg(feature = "market")]
pub mod market;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(feature = "nats")]
pub mod nats;
#[cfg(any(feature = "sse", feature = "websocket"))]
mod notification_frame;
#[cfg(feature = "operator")]
pub mod operator;
#[cfg(feature = "outbox")]
pub mod outbox;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "probe")]
pub mod probe;
#[cfg(feature = "publish")]
pub mod publish;
#[cfg(feature = "security")]
pub mod security;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "sse")]
pub mod sse;
pub mod system;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(feature = "webhook")]
pub mod webhook;
#[cfg(feature = "websocket")]
pub mod websocket;
