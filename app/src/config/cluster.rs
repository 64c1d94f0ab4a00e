//! `[cluster]`: several nodes that share a log in NATS.

use super::reader::SettingReader;
use super::value::{OptionalText, SecretText, SettingValue, Shape, words};

/// The log between nodes, if there are several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClusterConfig {
    /// The servers of NATS; none for a node alone.
    pub(crate) nats: NatsServers,
    /// The name of the cluster: nodes of one name share their notifications.
    pub(crate) name: OptionalText,
    pub(crate) storage: StorageChoice,
    pub(crate) replicas: Replicas,
    /// A file with a token and a seed.
    pub(crate) credentials: OptionalText,
    pub(crate) user: OptionalText,
    pub(crate) password: SecretText,
    /// The seed of an nkey.
    pub(crate) nkey: SecretText,
    pub(crate) ca_file: OptionalText,
    pub(crate) cert: OptionalText,
    pub(crate) key: OptionalText,
}

/// Addresses of servers of NATS, separated by commas; empty for none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct NatsServers(pub(crate) String);

impl SettingValue for NatsServers {
    const EXPECTED: &'static str =
        "\"nats://HOST:PORT\" or \"tls://HOST:PORT\", or several of them, separated by commas";
    const SHAPE: Shape = Shape::Pattern("^(|(nats|tls)://[^,]+(,\\s*(nats|tls)://[^,]+)*)$");

    fn from_text(text: &str) -> Option<Self> {
        let is_server = |server: &str| {
            let place = server.trim().split_once("://");
            place.is_some_and(|(scheme, place)| {
                ["nats", "tls"].contains(&scheme) && !place.is_empty()
            })
        };
        (text.is_empty() || text.split(',').all(is_server)).then(|| Self(text.to_owned()))
    }

    fn to_text(&self) -> String {
        self.0.clone()
    }
}

words! {
    /// Where the log is kept.
    StorageChoice, "file or memory", {
        File = "file",
        Memory = "memory",
    }
}

/// On how many servers of NATS the log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Replicas(pub(crate) usize);

impl SettingValue for Replicas {
    const EXPECTED: &'static str = "1, 3 or 5";
    const SHAPE: Shape = Shape::Numbers(&[1, 3, 5]);
    const BARE: bool = true;

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok().filter(|replicas| matches!(replicas, 1 | 3 | 5)).map(Self)
    }

    fn to_text(&self) -> String {
        self.0.to_string()
    }
}

impl ClusterConfig {
    pub(super) fn read(reader: &mut SettingReader) -> Self {
        let key = |name| ["cluster", name];
        Self {
            nats: reader.read(&key("nats"), NatsServers::default()),
            name: reader.read(&key("name"), OptionalText("doorstep".to_owned())),
            storage: reader.read(&key("storage"), StorageChoice::File),
            replicas: reader.read(&key("replicas"), Replicas(1)),
            credentials: reader.read(&key("credentials"), OptionalText::default()),
            user: reader.read(&key("user"), OptionalText::default()),
            password: reader.read(&key("password"), SecretText::default()),
            nkey: reader.read(&key("nkey"), SecretText::default()),
            ca_file: reader.read(&key("ca_file"), OptionalText::default()),
            cert: reader.read(&key("cert"), OptionalText::default()),
            key: reader.read(&key("key"), OptionalText::default()),
        }
    }

    /// Whether this node shares its notifications with others.
    pub(crate) fn is_on(&self) -> bool {
        !self.nats.0.is_empty()
    }

    /// Returns what is wrong with these settings, together with what the rest of the configuration wants.
    pub(super) fn problems(&self, needs_sqlite: bool, trading: bool, poll: bool) -> Vec<String> {
        let given = [
            ("credentials", !self.credentials.0.is_empty()),
            ("user", !self.user.0.is_empty()),
            ("nkey", !self.nkey.0.is_empty()),
        ];
        let ways: Vec<_> =
            given.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
        let mut problems = Vec::new();
        if !self.is_on() {
            return problems;
        }
        let mut refuse = |wrong: bool, why: &str| {
            if wrong {
                problems.push(format!("cluster.{why}"));
            }
        };
        refuse(
            !cfg!(feature = "cluster"),
            "nats: this program was built without the feature `cluster`",
        );
        refuse(
            ways.len() > 1,
            "credentials, cluster.user, cluster.nkey: give one of them, not several",
        );
        refuse(
            self.user.0.is_empty() != self.password.0.is_empty(),
            "user, cluster.password: give both or none",
        );
        refuse(
            self.cert.0.is_empty() != self.key.0.is_empty(),
            "cert, cluster.key: give both or none",
        );
        refuse(
            needs_sqlite,
            "nats: several nodes need one PostgreSQL database for what is kept: set `database`, or switch off \
             what needs one (inbox.enabled, handover.enabled, trading.enabled)",
        );
        refuse(
            trading,
            "nats: the trading simulation does not work with several nodes: each would make its own prices; set \
             trading.enabled = false",
        );
        refuse(poll, "nats: the strategy poll of [delivery] knows only one node; use wake");
        problems
    }
}
