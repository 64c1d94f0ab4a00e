//! Writes to a terminal, a file, or a pipe that its reader may close.

use std::fmt::{Display, Write as _};
use std::io::{self, Write as _};

use anyhow::Context;
use serde::Serialize;

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

/// Prints a value as one line of JSON, with the promises of [`fn@line`].
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(one_line(&serde_json::to_string(value)?))
}

/// JSON as one line that does not steer a terminal. Raw JSON of others may have line breaks between its values; inside
/// strings, JSON has them escaped. What else is a control character can only be in a string.
pub(crate) fn one_line(json: &str) -> String {
    let mut line = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '\n' | '\r' | '\t' => line.push(' '),
            // Writing to a string does not fail.
            _ if character.is_control() => {
                let _ = write!(line, "\\u{:04x}", u32::from(character));
            }
            _ => line.push(character),
        }
    }
    line
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_one_line_and_says_the_same() {
        let json = "{\n\t\"a\": [1,\r\n2],\n\"b\": \"c\\n\u{9b}\u{7f}é\"}";
        let line = one_line(json);
        assert!(!line.chars().any(char::is_control), "{line:?}");
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(&line), read(json));
    }
}
