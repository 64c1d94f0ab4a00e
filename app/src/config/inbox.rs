//! `[inbox]`: notifications that are kept until they are read, and how long they are kept after that.

use std::time::Duration;

use super::reader::SettingReader;
use super::value::{SettingValue, Shape, Span};

/// The inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InboxConfig {
    pub(crate) enabled: bool,
    /// How long an item is kept after it was read.
    pub(crate) keep_read: KeepRead,
}

impl InboxConfig {
    pub(super) fn read(reader: &mut SettingReader) -> Self {
        Self {
            enabled: reader.read(&["inbox", "enabled"], true),
            keep_read: reader.read(&["inbox", "keep_read"], KeepRead(None)),
        }
    }
}

/// How long something is kept; `None` means for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeepRead(pub(crate) Option<Duration>);

impl KeepRead {
    /// The shortest time. For as long as a node remembers what was published, a repeat of an id must still be
    /// recognised after a restart, by its item.
    const LEAST: Duration = Duration::from_hours(1);
}

impl SettingValue for KeepRead {
    const EXPECTED: &'static str = "a duration of at least 1h, like \"30days\", or nothing";
    const SHAPE: Shape = Shape::Pattern("^(|\\s*([0-9]+\\s*[A-Za-zµ]+\\s*)+)$");

    fn from_text(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self(None));
        }
        let Span(kept) = Span::from_text(text)?;
        (kept >= Self::LEAST).then_some(Self(Some(kept)))
    }

    fn to_text(&self) -> String {
        self.0.map(|kept| Span(kept).to_text()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_for_ever_or_an_hour_at_least() {
        assert_eq!(KeepRead::from_text(""), Some(KeepRead(None)));
        let month = KeepRead::from_text("30days").unwrap();
        assert_eq!(month.0, Some(Duration::from_hours(30 * 24)));
        assert_eq!(KeepRead::from_text(&month.to_text()), Some(month));
        for text in ["0s", "59m", "30", "never", "11years"] {
            assert_eq!(KeepRead::from_text(text), None, "{text:?}");
        }
    }
}
