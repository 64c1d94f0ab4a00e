//! The configuration: a tree, one node per subsystem. A flag beats the environment, which beats the file, which beats
//! the default. Unknown keys and values that are not allowed are refused, all of them at once, each with its origin.
//!
//! It is read setting by setting instead of into one deserialised structure, because each setting needs three things
//! that a structure cannot carry: its origin, what is allowed, and an environment form even for kinds with points in
//! their names.
//!
//! | file | what |
//! | --- | --- |
//! | `layers` | merges file, environment and flags; nothing is interpreted |
//! | `reader`, `value`, `quoted` | reads a typed setting from the merged layers; how each type, and TOML's text, is written |
//! | `server`, `delivery`, `notifications`, `market`, `backends`, `database`, `inbox`, `stories`, `outbox`, `cluster` | the settings by subsystem; the small tables are here |
//! | `settings` | the name and meaning of every setting, from which the next three are made |
//! | `changes`, `listing` | what is different after a reload; what is in effect |
//! | `settings_page`, `default_file`, `schema` | docs/settings.md, `config --default`, `config --schema` |

pub(crate) mod backends;
mod changes;
pub(crate) mod cluster;
mod database;
mod default_file;
mod delivery;
#[cfg(test)]
mod files_of_strangers;
mod inbox;
mod layers;
mod listing;
mod market;
#[cfg(test)]
#[path = "../../../adapters/src/http/mutated.rs"]
mod mutated;
mod notifications;
mod outbox;
mod quoted;
mod reader;
mod schema;
mod server;
mod settings;
#[cfg(test)]
mod settings_page;
mod stories;
#[cfg(test)]
mod tests;
pub(crate) mod value;

use std::net::SocketAddr;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use doorstep_adapters::api::demo::Reach;
use doorstep_domain::{Money, RewardRules};

pub(crate) use backends::BackendsConfig;
pub(crate) use changes::SettingChange;
pub(crate) use cluster::ClusterConfig;
pub(crate) use database::DatabaseUrl;
pub(crate) use default_file::default_file;
pub(crate) use delivery::{
    DeliveryConfig, OnExpiryChoice, OverflowChoice, PolicyChoice, RuleConfig, StrategyChoice,
};
pub(crate) use inbox::InboxConfig;
use layers::{Gathered, ReadFile};
pub(crate) use layers::{SettingKey, Sources};
pub(crate) use market::{MarketConfig, PriceSource};
pub(crate) use notifications::{NotificationsConfig, PolicyOrKind};
pub(crate) use outbox::OutboxConfig;
use reader::{SettingLine, SettingReader};
pub(crate) use schema::schema;
pub(crate) use server::Listen;
use server::{OwnAddress, ServerConfig};
pub(crate) use value::Span;
use value::words;

/// All settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// Where HTTP is served.
    pub(crate) listen: Listen,
    /// Where durable data is kept.
    pub(crate) database: DatabaseUrl,
    pub(crate) server: ServerConfig,
    pub(crate) delivery: DeliveryConfig,
    pub(crate) notifications: NotificationsConfig,
    pub(crate) market: MarketConfig,
    pub(crate) trading: TradingConfig,
    pub(crate) rewards: RewardsConfig,
    pub(crate) sessions: SessionsConfig,
    pub(crate) limits: LimitsConfig,
    pub(crate) demo: DemoConfig,
    /// Keeps notifications until they are read.
    pub(crate) inbox: InboxConfig,
    pub(crate) stories: stories::StoriesConfig,
    /// Leaves the waiting notifications of a stopping node to the next node.
    pub(crate) handover: PartConfig,
    pub(crate) backends: BackendsConfig,
    pub(crate) outbox: OutboxConfig,
    pub(crate) cluster: ClusterConfig,
    pub(crate) metrics: MetricsConfig,
    pub(crate) log: LogConfig,
}

/// The node's metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MetricsConfig {
    /// A separate address on which they are served.
    pub(crate) listen: OwnAddress,
}

/// Limits on what strangers may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LimitsConfig {
    /// Live connections of this node.
    pub(crate) connections: NonZeroUsize,
    pub(crate) connections_per_user: NonZeroUsize,
    pub(crate) connections_per_address: NonZeroUsize,
    /// HTTP connections of this node, including event streams, excluding `WebSocket`s.
    pub(crate) http_connections: NonZeroUsize,
    pub(crate) http_connections_per_address: NonZeroUsize,
    /// Per address, in the long run; 0 means no limit.
    pub(crate) registrations_per_second: u32,
    /// As for registrations.
    pub(crate) sign_ins_per_second: u32,
}

const CONNECTIONS: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();
const CONNECTIONS_PER_USER: NonZeroUsize = NonZeroUsize::new(20).unwrap();
const CONNECTIONS_PER_ADDRESS: NonZeroUsize = NonZeroUsize::new(1000).unwrap();
const HTTP_CONNECTIONS: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();
const PER_SECOND: u32 = 50;

impl LimitsConfig {
    fn read(reader: &mut SettingReader) -> Self {
        let key = |name| ["limits", name];
        Self {
            connections: reader.read(&key("connections"), CONNECTIONS),
            connections_per_user: reader.read(&key("connections_per_user"), CONNECTIONS_PER_USER),
            connections_per_address: reader
                .read(&key("connections_per_address"), CONNECTIONS_PER_ADDRESS),
            http_connections: reader.read(&key("http_connections"), HTTP_CONNECTIONS),
            http_connections_per_address: reader
                .read(&key("http_connections_per_address"), CONNECTIONS_PER_ADDRESS),
            registrations_per_second: reader.read(&key("registrations_per_second"), PER_SECOND),
            sign_ins_per_second: reader.read(&key("sign_ins_per_second"), PER_SECOND),
        }
    }
}

/// The rewards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RewardsConfig {
    /// For each new user. `"0.00"` gives nothing, here and below.
    pub(crate) welcome_gift: Money,
    /// For a user's first closed position, whoever closed it.
    pub(crate) first_close: Money,
    /// For every `milestone_every`-th closed position.
    pub(crate) close_milestone: Money,
    /// How many closed positions make a milestone.
    pub(crate) milestone_every: NonZeroU64,
}

/// The trading simulation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TradingConfig {
    /// Whether there is a simulation, with its users and their ledger.
    pub(crate) enabled: bool,
    /// Open positions per user.
    pub(crate) max_open_per_user: NonZeroUsize,
}

impl RewardsConfig {
    fn read(reader: &mut SettingReader) -> Self {
        let key = |name| ["rewards", name];
        let money = |units: i64| Money::from_minor(units * Money::SCALE);
        Self {
            welcome_gift: reader.read(&key("welcome_gift"), money(1000)),
            first_close: reader.read(&key("first_close"), money(10)),
            close_milestone: reader.read(&key("close_milestone"), money(25)),
            milestone_every: reader.read(&key("milestone_every"), RewardRules::MILESTONE_EVERY),
        }
    }
}

const MAX_OPEN: NonZeroUsize = NonZeroUsize::new(1000).unwrap();

/// Sessions of users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SessionsConfig {
    /// How long a token is valid.
    pub(crate) ttl: Span,
}

/// The demonstration on the page, for which users may send notifications to themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DemoConfig {
    pub(crate) enabled: DemoEnabled,
}

words! {
    /// Whether there is a demonstration.
    DemoEnabled, "auto (only where nobody but this machine can connect), true or false", {
        Auto = "auto",
        Always = "true",
        Never = "false",
    }
}

/// A part that can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartConfig {
    pub(crate) enabled: bool,
}

impl PartConfig {
    fn read(reader: &mut SettingReader, table: &str) -> Self {
        Self { enabled: reader.read(&[table, "enabled"], true) }
    }
}

/// The log on standard error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogConfig {
    /// In the syntax of `RUST_LOG`.
    pub(crate) filter: LogFilter,
    pub(crate) format: LogFormat,
}

words! {
    /// The format of log lines.
    LogFormat, "human or json", {
        Human = "human",
        Json = "json",
    }
}

/// A filter that `tracing-subscriber` understands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogFilter(pub(crate) String);

impl value::SettingValue for LogFilter {
    const EXPECTED: &'static str = "a log filter, like \"info\" or \"warn,doorstep=debug\"";

    fn from_text(text: &str) -> Option<Self> {
        tracing_subscriber::EnvFilter::try_new(text).ok().map(|_| Self(text.to_owned()))
    }

    fn to_text(&self) -> String {
        self.0.clone()
    }
}

/// The configuration, and the origin of each setting.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    /// Environment variables with our prefix that are not settings.
    pub(crate) strangers: Vec<String>,
    /// The file that was read.
    file: Option<ReadFile>,
    lines: Vec<SettingLine>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration file {} cannot be read: {cause}", path.display())]
    Unreadable { path: PathBuf, cause: std::io::Error },
    /// The file is not TOML.
    #[error("the configuration file {} is not TOML:\n{cause}", path.display())]
    NotToml { path: PathBuf, cause: toml::de::Error },
    /// The file of a serving process has become empty.
    #[error("the configuration file {} is empty", path.display())]
    Empty { path: PathBuf },
    /// Settings are unknown or not allowed.
    #[error("the configuration is wrong:\n  {}", .0.join("\n  "))]
    Wrong(Vec<String>),
}

impl Config {
    /// Whether there is a demonstration. It is a part of the simulation; without an inbox there is nothing to compare, and
    /// in a cluster there is no `poll`.
    pub(crate) fn has_demo(&self) -> bool {
        let wanted = match self.demo.enabled {
            // Behind a proxy, every client seems to be on this machine.
            DemoEnabled::Auto => {
                matches!(self.listen, Listen::Tcp(address) if address.ip().is_loopback())
                    && self.server.trusted_proxies.0.is_empty()
            }
            DemoEnabled::Always => true,
            DemoEnabled::Never => false,
        };
        wanted && self.inbox.enabled && self.trading.enabled && !self.cluster.is_on()
    }

    /// Whether users may see the demonstration.
    pub(crate) fn demo_reach(&self) -> Reach {
        match self.demo.enabled {
            DemoEnabled::Auto => Reach::ThisMachine,
            DemoEnabled::Always | DemoEnabled::Never => Reach::Everybody,
        }
    }

    /// Whether any enabled part needs a database.
    pub(crate) fn needs_store(&self) -> bool {
        self.trading.enabled || self.inbox.enabled || self.handover.enabled
    }

    /// Reads file, environment and flags.
    pub(crate) fn load(sources: Sources) -> Result<Loaded, ConfigError> {
        let Gathered { given, strangers, file } = layers::gather(sources)?;
        let mut reader = SettingReader::new(given);
        let config = Self::read(&mut reader);
        if !config.inbox.enabled && config.delivery.rules().use_inbox() {
            let what =
                "inbox.enabled is false, but a policy or an on_expiry of [delivery] is inbox";
            reader.refuse(what.to_owned());
        }
        if let Some(problem) = config.server.tls.problem(&config.listen) {
            reader.refuse(problem);
        }
        let sqlite = config.needs_store() && config.database.as_str().starts_with("sqlite:");
        let poll = config.delivery.rules().poll();
        for problem in config.cluster.problems(sqlite, poll) {
            reader.refuse(problem);
        }
        if !config.needs_store() {
            // DATABASE_URL may belong to another application; this node does not open it.
            reader.forgive(&SettingKey::new(&["database"]), "DATABASE_URL");
        }
        let lines = reader.finish().map_err(ConfigError::Wrong)?;
        Ok(Loaded { config, strangers, file, lines })
    }

    /// Reads everything again, for a serving process. A missing or empty file is an error, because it would revoke
    /// every key by accident.
    pub(crate) fn load_again(before: &Loaded, sources: Sources) -> Result<Loaded, ConfigError> {
        let file = before.file.as_ref().map(|file| file.path.clone());
        let loaded = Self::load(Sources { file: sources.file.clone().or(file), ..sources })?;
        match loaded.file {
            Some(ReadFile { path, says_nothing: true }) => Err(ConfigError::Empty { path }),
            _ => Ok(loaded),
        }
    }

    /// The defaults.
    pub(crate) fn defaults() -> Self {
        Self::read(&mut SettingReader::new(layers::GivenSettings::new()))
    }

    fn read(reader: &mut SettingReader) -> Self {
        let database = DatabaseUrl::new(DatabaseUrl::DEFAULT.to_owned());
        Self {
            listen: reader.read(&["listen"], Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 3000)))),
            database: reader.read(&["database"], database),
            server: ServerConfig::read(reader),
            metrics: MetricsConfig {
                listen: reader.read(&["metrics", "listen"], OwnAddress::default()),
            },
            delivery: DeliveryConfig::read(reader),
            notifications: NotificationsConfig::read(reader),
            market: MarketConfig::read(reader),
            trading: TradingConfig {
                enabled: reader.read(&["trading", "enabled"], true),
                max_open_per_user: reader.read(&["trading", "max_open_per_user"], MAX_OPEN),
            },
            rewards: RewardsConfig::read(reader),
            sessions: SessionsConfig {
                ttl: reader.read(&["sessions", "ttl"], Span::from_secs(30 * 24 * 60 * 60)),
            },
            limits: LimitsConfig::read(reader),
            demo: DemoConfig { enabled: reader.read(&["demo", "enabled"], DemoEnabled::Auto) },
            inbox: InboxConfig::read(reader),
            stories: stories::StoriesConfig::read(reader),
            handover: PartConfig::read(reader, "handover"),
            backends: BackendsConfig::read(reader),
            outbox: OutboxConfig::read(reader),
            cluster: ClusterConfig::read(reader),
            log: LogConfig {
                filter: reader.read(&["log", "filter"], LogFilter("info".to_owned())),
                format: reader.read(&["log", "format"], LogFormat::Human),
            },
        }
    }
}
