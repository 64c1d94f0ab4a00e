//! The URL of the database, and how to print it without its password.

use std::fmt;

use super::value::{SettingValue, Shape};

/// A database's URL. Printed without its password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct DatabaseUrl(String);

impl DatabaseUrl {
    /// A SQLite file in the working directory, because it needs no server.
    pub(crate) const DEFAULT: &'static str = "sqlite://doorstep.db";

    pub(crate) fn new(url: String) -> Self {
        Self(url)
    }

    /// The URL with its password: for the store, never for a log.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The path, if the database is a file.
    pub(crate) fn file(&self) -> Option<&str> {
        let path = self.0.strip_prefix("sqlite:")?;
        let path = path.strip_prefix("//").unwrap_or(path);
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        (path != ":memory:").then_some(path)
    }
}

impl SettingValue for DatabaseUrl {
    const EXPECTED: &'static str =
        "\"sqlite://FILE\" or \"postgres://USER:PASSWORD@HOST:PORT/DATABASE\"";
    const SHAPE: Shape = Shape::Pattern("^(sqlite:|postgres(ql)?://)/*[^/]");

    fn from_text(text: &str) -> Option<Self> {
        let prefixes = ["sqlite:", "postgres://", "postgresql://"];
        let names_something = |rest: &str| !rest.trim_start_matches('/').is_empty();
        prefixes
            .iter()
            .filter_map(|prefix| text.strip_prefix(prefix))
            .any(names_something)
            .then(|| Self(text.to_owned()))
    }

    fn to_text(&self) -> String {
        hide_password(&self.0)
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hide_password(&self.0))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&hide_password(&self.0), f)
    }
}

/// Replaces the password of a URL with stars. Text that is not a URL is returned unchanged.
pub(crate) fn hide_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (before_query, query) = match rest.split_once('?') {
        Some((before, query)) => (before, Some(query)),
        None => (rest, None),
    };
    // The last @, because a password that is not percent-encoded may contain one.
    let shown = match before_query.rsplit_once('@') {
        Some((userinfo, place)) => match userinfo.split_once(':') {
            Some((user, _)) => format!("{user}:***@{place}"),
            None => format!("{userinfo}@{place}"),
        },
        None => before_query.to_owned(),
    };
    let hide = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if name.eq_ignore_ascii_case("password") => format!("{name}=***"),
        _ => pair.to_owned(),
    };
    match query {
        Some(query) => {
            let query: Vec<String> = query.split('&').map(hide).collect();
            format!("{scheme}://{shown}?{}", query.join("&"))
        }
        None => format!("{scheme}://{shown}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for (url, shown) in [
            ("postgres://u:s3cret@h/d", "postgres://u:***@h/d"),
            ("postgres://u:s3@cret/x@h:1/d", "postgres://u:***@h:1/d"),
            (
                "postgres://u@h/d?sslmode=off&password=s3cret",
                "postgres://u@h/d?sslmode=off&password=***",
            ),
            ("mysql://u:s3cret@h/d", "mysql://u:***@h/d"),
            ("sqlite://doorstep.db", "sqlite://doorstep.db"),
        ] {
            assert_eq!(hide_password(url), shown);
        }
    }

    #[test]
    fn only_the_two_engines_are_taken() {
        let file = |text| DatabaseUrl::from_text(text).unwrap().file().map(str::to_owned);
        assert_eq!(file("sqlite://a.db?mode=rwc").as_deref(), Some("a.db"));
        assert_eq!(file("sqlite:///a/b.db").as_deref(), Some("/a/b.db"));
        assert_eq!(file("sqlite::memory:"), None);
        assert_eq!(file("postgres://h/d"), None);
        for text in ["", "sqlite://", "sqlite:", "mysql://h/d", "doorstep.db", "postgres://"] {
            assert_eq!(DatabaseUrl::from_text(text), None, "{text:?}");
        }
    }
}
