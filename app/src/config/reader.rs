//! Reads typed settings from the merged layers, one by one. It collects all problems, so that one start reports every
//! mistake in a file.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::database::hide_password;
use super::layers::{GivenSettings, SettingKey, SettingOrigin, SettingText};
use super::quoted::quoted;
use super::value::{SettingValue, Shape};

/// Reads typed settings.
pub(crate) struct SettingReader {
    given: GivenSettings,
    lines: Vec<SettingLine>,
    /// Each with the setting that it is about, if it is about one.
    problems: Vec<(Option<SettingKey>, String)>,
}

/// A setting in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SettingLine {
    pub(crate) key: SettingKey,
    /// As TOML.
    pub(crate) value: String,
    pub(crate) origin: SettingOrigin,
    /// What is allowed, in words and for a schema.
    pub(super) expected: &'static str,
    pub(super) shape: Shape,
    /// Of what was given. Shows that a secret has changed, without the secret.
    pub(super) fingerprint: u64,
}

fn fingerprint(text: &SettingText) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

impl SettingReader {
    pub(crate) fn new(given: GivenSettings) -> Self {
        Self { given, lines: Vec::new(), problems: Vec::new() }
    }

    /// Returns the setting, or its default. A value that is not allowed is noted as a problem, and the default is
    /// returned so that the other settings are checked too.
    pub(crate) fn read<T: SettingValue>(&mut self, key: &[&str], default: T) -> T {
        let key = SettingKey::new(key);
        let fingerprint = self.given.get(&key).map_or(0, |(text, _)| fingerprint(text));
        let (setting, origin) = match self.given.remove(&key) {
            None => (default, SettingOrigin::Default),
            Some((text, origin)) => {
                let right_type = T::SHAPE.takes(&text);
                let setting = match &text {
                    _ if !right_type => None,
                    SettingText::List(items) => T::from_text(&items.join(",")),
                    SettingText::Plain(text)
                    | SettingText::Quoted(text)
                    | SettingText::Number(text)
                    | SettingText::Truth(text) => T::from_text(text),
                    SettingText::Other(_) => None,
                };
                let setting = setting.unwrap_or_else(|| {
                    let hint = match &text {
                        SettingText::Quoted(_) if !right_type => ", without quotes",
                        SettingText::Number(_) | SettingText::Truth(_)
                            if !right_type && !T::BARE && !T::EXPECTED.contains("quotes") =>
                        {
                            ", in quotes"
                        }
                        _ => "",
                    };
                    let shown = match text {
                        SettingText::Plain(text) | SettingText::Quoted(text) => {
                            quoted(&hide_password(&text))
                        }
                        SettingText::Number(text) | SettingText::Truth(text) => text,
                        SettingText::List(items) if right_type => format!(
                            "[{}]",
                            items.iter().map(|item| quoted(item)).collect::<Vec<_>>().join(", ")
                        ),
                        SettingText::List(_) => "a TOML array".to_owned(),
                        SettingText::Other(toml_type) => format!("a TOML {toml_type}"),
                    };
                    let expected = T::EXPECTED;
                    let problem = format!("{key} = {shown} ({origin}): expected {expected}{hint}");
                    self.problems.push((Some(key.clone()), problem));
                    default
                });
                (setting, origin)
            }
        };
        let text = setting.to_text();
        let value = if T::BARE { text } else { quoted(&text) };
        self.lines.push(SettingLine {
            key,
            value,
            origin,
            expected: T::EXPECTED,
            shape: T::SHAPE,
            fingerprint,
        });
        setting
    }

    /// The names of the non-empty tables under this path, such as the kinds under `delivery.kinds`.
    pub(crate) fn tables(&self, under: &[&str]) -> Vec<String> {
        let inside = |key: &&SettingKey| {
            key.0.len() > under.len() + 1 && key.0.iter().zip(under).all(|(a, b)| a == b)
        };
        let mut names: Vec<String> =
            self.given.keys().filter(inside).map(|key| key.0[under.len()].clone()).collect();
        names.dedup();
        names
    }

    /// The names of the settings directly under this path, such as the service keys under `keys`.
    pub(crate) fn names(&self, under: &[&str]) -> Vec<String> {
        let inside = |key: &&SettingKey| {
            key.0.len() == under.len() + 1 && key.0.iter().zip(under).all(|(a, b)| a == b)
        };
        self.given.keys().filter(inside).map(|key| key.0[under.len()].clone()).collect()
    }

    /// Notes a problem that is not about one value.
    pub(crate) fn refuse(&mut self, problem: String) {
        self.problems.push((None, problem));
    }

    /// Replaces a setting that is not allowed by its default, if it came from this environment variable.
    pub(crate) fn forgive(&mut self, key: &SettingKey, variable: &str) {
        let ours = SettingOrigin::Environment(variable.to_owned());
        let Some(line) = self.lines.iter_mut().find(|line| line.key == *key) else { return };
        let before = self.problems.len();
        if line.origin == ours {
            self.problems.retain(|(about, _)| about.as_ref() != Some(key));
        }
        if self.problems.len() < before {
            line.origin = SettingOrigin::Default;
        }
    }

    /// Returns every setting in effect, or every problem. Keys that were not read are unknown, which is a problem.
    pub(crate) fn finish(mut self) -> Result<Vec<SettingLine>, Vec<String>> {
        for (key, (_, origin)) in &self.given {
            let parent = &key.0[..key.0.len() - 1];
            let known = self.known_under(parent);
            let problem = if known.is_empty() {
                let tables = self.known_under(&[]);
                format!("{key} ({origin}): there is no such table; known at the top: {tables}")
            } else {
                format!("{key} ({origin}): unknown key; known here: {known}")
            };
            self.problems.push((None, problem));
        }
        if self.problems.is_empty() {
            Ok(self.lines)
        } else {
            Err(self.problems.into_iter().map(|(_, problem)| problem).collect())
        }
    }

    fn known_under(&self, parent: &[String]) -> String {
        let mut names = Vec::new();
        for line in &self.lines {
            if let Some([name, ..]) = line.key.0.strip_prefix(parent)
                && !names.contains(&name.as_str())
            {
                names.push(name);
            }
        }
        names.join(", ")
    }
}
