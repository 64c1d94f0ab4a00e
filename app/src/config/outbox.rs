//! `[outbox]`: the outbox of a backend that this node consumes.

use super::database::hide_password;
use super::reader::SettingReader;
use super::value::{SettingValue, Shape};

/// Which outbox is consumed, if any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutboxConfig {
    url: OutboxUrl,
}

impl OutboxConfig {
    pub(super) fn read(reader: &mut SettingReader) -> Self {
        Self { url: reader.read(&["outbox", "url"], OutboxUrl::default()) }
    }

    /// The database's URL, including its password.
    pub(crate) fn url(&self) -> Option<&str> {
        (!self.url.0.is_empty()).then_some(self.url.0.as_str())
    }
}

/// The URL of the backend's database; empty for none. Printed without its password.
#[derive(Clone, PartialEq, Eq, Default)]
struct OutboxUrl(String);

impl SettingValue for OutboxUrl {
    const EXPECTED: &'static str = "\"postgres://USER:PASSWORD@HOST:PORT/DATABASE\"";
    const SHAPE: Shape = Shape::Pattern("^(|postgres(ql)?://.*)$");

    fn from_text(text: &str) -> Option<Self> {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        let known = text.is_empty() || matches!(scheme, Some("postgres" | "postgresql"));
        known.then(|| Self(text.to_owned()))
    }

    fn to_text(&self) -> String {
        hide_password(&self.0)
    }
}

impl std::fmt::Debug for OutboxUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_text())
    }
}
