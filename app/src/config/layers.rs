//! Merges the layers of the configuration: the file, the environment over it, the flags over both. Values are not
//! interpreted here; each setting stays text, with its origin.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::ConfigError;
use super::quoted::quoted;

/// The path of a setting in the tree. A kind such as `position.closed` is one segment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SettingKey(pub(crate) Vec<String>);

impl SettingKey {
    pub(crate) fn new(segments: &[&str]) -> Self {
        Self(segments.iter().map(|&s| s.to_owned()).collect())
    }
}

/// Writes a dotted key of TOML, which can be copied into the file.
impl fmt::Display for SettingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, segment) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(".")?;
            }
            let bare = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
            if !segment.is_empty() && segment.bytes().all(bare) {
                f.write_str(segment)?;
            } else {
                f.write_str(&quoted(segment))?;
            }
        }
        Ok(())
    }
}

/// The layer in which a setting was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SettingOrigin {
    /// It was not given.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// This environment variable.
    Environment(String),
    /// This flag.
    Flag(&'static str),
}

impl fmt::Display for SettingOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// The value of a setting, as it was given.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum SettingText {
    /// Text without a type, from the environment or a flag.
    Plain(String),
    /// A string of the file.
    Quoted(String),
    /// A whole number of the file.
    Number(String),
    /// A truth value of the file.
    Truth(String),
    /// An array of strings.
    List(Vec<String>),
    /// A TOML type that no setting has, by name.
    Other(&'static str),
}

/// All settings that were given, each from its strongest layer.
pub(crate) type GivenSettings = BTreeMap<SettingKey, (SettingText, SettingOrigin)>;

/// The layers apart from the file. Passed in, so that tests need not change the process.
#[derive(Clone)]
pub(crate) struct Sources {
    /// The environment.
    pub(crate) environment: Vec<(String, String)>,
    /// From flags: the key, the flag's name, the value.
    pub(crate) flags: Vec<(SettingKey, &'static str, String)>,
    /// `--config`.
    pub(crate) file: Option<PathBuf>,
}

/// The merged layers.
pub(crate) struct Gathered {
    pub(crate) given: GivenSettings,
    /// Environment variables with our prefix that are not settings.
    pub(crate) strangers: Vec<String>,
    pub(crate) file: Option<ReadFile>,
}

/// The configuration file that was read.
#[derive(Debug, Clone)]
pub(crate) struct ReadFile {
    pub(crate) path: PathBuf,
    pub(crate) says_nothing: bool,
}

/// Environment variables with a name of their own. All other names are derived from the key.
const NAMED: [(&str, &[&str]); 4] = [
    ("DOORSTEP_LISTEN", &["listen"]),
    ("DATABASE_URL", &["database"]),
    // The weaker first.
    ("RUST_LOG", &["log", "filter"]),
    ("DOORSTEP_LOG", &["log", "filter"]),
];
/// Variables of ours that are not settings.
const NOT_SETTINGS: [&str; 3] = ["DOORSTEP_CONFIG", "DOORSTEP_KEY", "DOORSTEP_TOKEN"];
const PREFIX: &str = "DOORSTEP_";
/// Read if it exists and no other file is named.
const DEFAULT_FILE: &str = "doorstep.toml";

/// Reads and merges all layers. Variables with our prefix that are not settings are returned, to be warned of and not
/// refused: orchestrators set names like `DOORSTEP_SERVICE_HOST` by themselves.
pub(crate) fn gather(sources: Sources) -> Result<Gathered, ConfigError> {
    let mut given = GivenSettings::new();
    let mut strangers = Vec::new();
    let variable = |name: &str| {
        sources.environment.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone())
    };
    let (file, must_exist) = match sources.file.or(variable("DOORSTEP_CONFIG").map(PathBuf::from)) {
        Some(file) => (file, true),
        None => (PathBuf::from(DEFAULT_FILE), false),
    };
    let mut read = None;
    if let Some(table) = read_file(&file, must_exist)? {
        read = Some(ReadFile { path: file.clone(), says_nothing: table.is_empty() });
        flatten(&mut given, &mut Vec::new(), table, &SettingOrigin::File(file));
    }
    for (name, key) in NAMED {
        if let Some(value) = variable(name) {
            let origin = SettingOrigin::Environment(name.to_owned());
            given.insert(SettingKey::new(key), (SettingText::Plain(value), origin));
        }
    }
    let port = variable("PORT").filter(|port| !port.is_empty());
    let mut environment = sources.environment;
    environment.sort();
    for (name, value) in environment {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        if rest.contains("__") {
            let key = environment_key(rest, &given);
            given.insert(key, (SettingText::Plain(value), SettingOrigin::Environment(name)));
        } else if !NAMED.iter().any(|(n, _)| *n == name) && !NOT_SETTINGS.contains(&name.as_str()) {
            strangers.push(name);
        }
    }
    for (key, flag, value) in sources.flags {
        given.insert(key, (SettingText::Plain(value), SettingOrigin::Flag(flag)));
    }
    // Hosting platforms give the port as PORT. It counts only where no layer gives `listen`.
    if let Some(port) = port
        && let Entry::Vacant(listen) = given.entry(SettingKey::new(&["listen"]))
    {
        let origin = SettingOrigin::Environment("PORT".to_owned());
        listen.insert((SettingText::Plain(format!("0.0.0.0:{port}")), origin));
    }
    Ok(Gathered { given, strangers, file: read })
}

/// The environment variables that set this, the strongest first.
pub(super) fn environment_names(key: &SettingKey) -> Vec<String> {
    let named = NAMED.iter().rev().filter(|(_, segments)| SettingKey::new(segments) == *key);
    let named: Vec<_> = named.map(|(name, _)| (*name).to_owned()).collect();
    if !named.is_empty() {
        return named;
    }
    let shell_form = key.0.join("__").to_ascii_uppercase().replace(['.', '-', '/'], "_");
    vec![format!("{PREFIX}{shell_form}")]
}

/// The settings in the text of a file. Empty if it is not TOML.
pub(super) fn given_in(text: &str) -> GivenSettings {
    let mut given = GivenSettings::new();
    flatten(&mut given, &mut Vec::new(), text.parse().unwrap_or_default(), &SettingOrigin::Default);
    given
}

fn read_file(path: &Path, must_exist: bool) -> Result<Option<toml::Table>, ConfigError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound && !must_exist => return Ok(None),
        Err(e) => return Err(ConfigError::Unreadable { path: path.to_owned(), cause: e }),
    };
    match text.parse() {
        Ok(table) => Ok(Some(table)),
        Err(e) => Err(ConfigError::NotToml { path: path.to_owned(), cause: e }),
    }
}

fn flatten(
    given: &mut GivenSettings,
    path: &mut Vec<String>,
    table: toml::Table,
    origin: &SettingOrigin,
) {
    for (name, value) in table {
        path.push(name);
        let text = match value {
            toml::Value::Table(inner) => {
                flatten(given, path, inner, origin);
                path.pop();
                continue;
            }
            toml::Value::String(text) => SettingText::Quoted(text),
            toml::Value::Integer(number) => SettingText::Number(number.to_string()),
            toml::Value::Boolean(truth) => SettingText::Truth(truth.to_string()),
            toml::Value::Array(items) => {
                let strings = items.into_iter().map(|item| match item {
                    toml::Value::String(text) => Some(text),
                    _ => None,
                });
                strings
                    .collect::<Option<_>>()
                    .map_or(SettingText::Other("array"), SettingText::List)
            }
            other => SettingText::Other(other.type_str()),
        };
        given.insert(SettingKey(path.clone()), (text, origin.clone()));
        path.pop();
    }
}

/// `DELIVERY__TTL` is `delivery.ttl`. Kinds may contain points, which names of variables may not:
/// `DELIVERY__KINDS__POSITION_CLOSED__POLICY` means the kind that the file spells `position.closed`. If the file has no
/// such kind, an underscore stands for a point, or for a hyphen in the name of an instrument, which is in capitals.
fn environment_key(rest: &str, given: &GivenSettings) -> SettingKey {
    let mut segments: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
    if let [table, names, name, _] = segments.as_mut_slice() {
        let spell: fn(&str) -> String = match (table.as_str(), names.as_str()) {
            ("delivery", "kinds") => |kind| kind.replace('_', "."),
            ("market", "instruments") => |symbol| symbol.to_ascii_uppercase().replace('_', "-"),
            _ => return SettingKey(segments),
        };
        let shell_form = |name: &str| name.to_ascii_lowercase().replace(['.', '-', '/'], "_");
        let in_file = given.keys().find_map(|key| match key.0.as_slice() {
            [t, n, spelled, _] if t == table && n == names => {
                (shell_form(spelled) == shell_form(name)).then_some(spelled)
            }
            _ => None,
        });
        *name = in_file.cloned().unwrap_or_else(|| spell(name));
    }
    SettingKey(segments)
}
