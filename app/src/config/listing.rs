//! `doorstep config`: the settings in effect, each with its origin and without secrets.

use serde_json::{Value, json};

use super::layers::{SettingKey, SettingOrigin};
use super::reader::SettingLine;
use super::{ConfigError, Loaded};

impl Loaded {
    /// All settings as a configuration file, each with its origin, without passwords.
    pub(crate) fn to_toml(&self) -> String {
        let mut lines = Vec::new();
        let mut table: &[String] = &[];
        // Kinds are read after the settings of their parent, so each table is in one piece.
        for SettingLine { key, value, origin, .. } in &self.lines {
            let Some((name, parent)) = key.0.split_last() else { continue };
            if parent != table {
                table = parent;
                lines.push(format!("\n[{}]", SettingKey(parent.to_vec())));
            }
            let setting = format!("{name} = {value}");
            lines.push(format!("{setting:<40} # {origin}"));
        }
        lines.join("\n")
    }

    /// The same for programs.
    pub(crate) fn to_json(&self) -> Value {
        let settings = self.lines.iter().map(|SettingLine { key, value, origin, .. }| {
            let (origin, from) = match origin {
                SettingOrigin::Default => ("default", None),
                SettingOrigin::File(path) => ("file", Some(path.display().to_string())),
                SettingOrigin::Environment(name) => ("environment", Some(name.clone())),
                SettingOrigin::Flag(name) => ("flag", Some((*name).to_owned())),
            };
            json!({
                "key": key.to_string(),
                "value": in_json(value),
                "origin": origin,
                "from": from,
            })
        });
        json!({
            "ok": true,
            "file": self.file.as_ref().map(|file| file.path.display().to_string()),
            "settings": settings.collect::<Vec<_>>(),
        })
    }
}

/// A value as JSON that the file has as TOML.
pub(super) fn in_json(toml: &str) -> Option<Value> {
    let line: toml::Table = format!("value = {toml}").parse().ok()?;
    serde_json::to_value(line.get("value")?).ok()
}

impl ConfigError {
    /// Each fault by itself.
    pub(crate) fn faults(&self) -> Vec<String> {
        match self {
            Self::Wrong(faults) => faults.clone(),
            other => vec![other.to_string()],
        }
    }
}
