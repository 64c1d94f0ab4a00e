//! The delivery policy alone, in virtual time.

#![allow(clippy::unwrap_used, reason = "a panic fails the test, as it should")]

mod clock;
mod deferred;
mod embedded;
mod full;
mod given_back;
mod inbox_together;
mod late_page;
mod observers;
mod recall;
mod recall_on_the_way;
mod stories;
mod support;
