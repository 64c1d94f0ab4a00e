//! The binary `doorstep`; all of it is in the library next to it.

use std::process::ExitCode;

fn main() -> ExitCode {
    doorstep::main()
}
