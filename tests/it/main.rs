//! The integration tests, in one binary.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is how to fail")]

mod stores;
