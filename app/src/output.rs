//! Writes to a terminal, a file, or a pipe that its reader may close.

use std::fmt::Display;
use std::io::{self, Write};

use anyhow::Context;

/// Prints a line to standard output. When the reader has closed its end of the pipe, as `head` does, the command goes
/// on without an error, and its exit code still reports the result.
pub(crate) fn line(text: impl Display) -> anyhow::Result<()> {
    match write_line(text) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}

/// Prints a line to standard output. Fails also when its reader has closed the pipe.
pub(crate) fn write_line(text: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Prints a line to standard error. Ignores a failure.
pub(crate) fn remark(text: impl Display) {
    writeln!(io::stderr(), "{text}").ok();
}

/// Whether colours may be used on standard error: it is a terminal, and `NO_COLOR` (<https://no-color.org>) is unset
/// or empty.
pub(crate) fn colours() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !unwanted && io::IsTerminal::is_terminal(&io::stderr())
}
