//! The binary `doorstep`: pushes that wait at the door.
//!
//! `main` parses, loads the configuration and hands over to a command; `composition` shows how the parts
//! are put together. Everything else is in the crates beside this one.

mod cli;
mod config;

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::SUCCESS
}
