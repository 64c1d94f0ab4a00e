//! The endpoint families, each in a file with a `router` over the few things that it needs and a `Description` for
//! `/openapi.json`. They use the machinery in [`http`](crate::http), which knows none of them.
//!
//! To add a family: one file here, and one `merge` and one description in the composition root.

pub mod accounts;
pub mod assets;
pub mod demo;
pub mod health;
pub mod inbox;
#[cfg(feature = "metrics")]
pub mod metrics;
pub mod sessions;
pub mod trading;
mod user_body;
pub mod users;
