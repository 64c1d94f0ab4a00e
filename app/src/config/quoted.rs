use std::fmt::Write as _;

/// A string as TOML has it, in one line that any terminal shows. Rust's own escapes (`{:?}`) are not TOML's.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        // What Rust does not escape is printable.
        let printable = character == '\'' || character.escape_debug().count() == 1;
        // Writing to a string does not fail.
        let _ = match (character, u32::from(character)) {
            ('"' | '\\', _) => write!(quoted, "\\{character}"),
            ('\n', _) => write!(quoted, "\\n"),
            ('\r', _) => write!(quoted, "\\r"),
            ('\t', _) => write!(quoted, "\\t"),
            _ if printable => quoted.write_char(character),
            (_, code @ 0..=0xffff) => write!(quoted, "\\u{code:04x}"),
            (_, code) => write!(quoted, "\\U{code:08x}"),
        };
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_is_toml_and_says_the_same() {
        for text in
            ["", "it's \"é\"\\", "\n\r\t", "\0\u{1b}\u{7f}\u{ad}\u{202e}\u{feff}\u{e0001}\u{301}"]
        {
            let line = format!("{} = {}", quoted(text), quoted(text));
            let read: toml::Table = line.parse().unwrap();
            assert_eq!(read.get(text).and_then(toml::Value::as_str), Some(text), "{line}");
            assert!(!line.contains(char::is_control), "{line:?}");
        }
    }
}
