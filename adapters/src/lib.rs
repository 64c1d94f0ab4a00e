//! The technologies behind the ports of `doorstep-domain`, each in its own module behind a cargo feature.

#[cfg(feature = "bus")]
pub mod bus;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "security")]
pub mod security;
pub mod system;
#[cfg(feature = "websocket")]
pub mod websocket;
