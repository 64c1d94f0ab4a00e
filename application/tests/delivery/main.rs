//! The delivery policy alone, in virtual time.

#![allow(clippy::unwrap_used, reason = "what cannot be had in a test is that test's failure")]

mod clock;
mod deferred;
mod embedded;
mod full;
mod recall;
mod support;
