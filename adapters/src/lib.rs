//! The technologies behind the ports, each in a folder and behind a feature of its own.

#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "security")]
pub mod security;
pub mod system;
#[cfg(feature = "websocket")]
pub mod websocket;
