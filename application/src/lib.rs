//! The use cases of Doorstep, against the ports of `doorstep-domain`.
//!
//! Nothing here knows axum, a socket or a database. [`delivery`] knows neither accounts nor trading: take
//! it alone, if that is what you came for.

pub mod delivery;
