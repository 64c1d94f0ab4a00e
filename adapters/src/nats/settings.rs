use std::path::PathBuf;
use std::time::Duration;

/// How to reach the log, and what its stream is like.
///
/// It holds secrets, and can therefore not be printed.
#[derive(Clone)]
pub struct NatsSettings {
    /// The servers, as `nats://HOST:PORT` or `tls://HOST:PORT`. One is enough: the others of a cluster are learned from it.
    pub servers: Vec<String>,
    /// How the node signs in to the servers.
    pub credentials: NatsCredentials,
    /// TLS to the servers.
    pub tls: NatsTls,
    /// The name of the log: 1 to 32 ASCII letters, digits, hyphens and underscores. Its stream is `DOORSTEP_` and the name.
    pub name: String,
    /// Where the stream is kept.
    pub storage: LogStorage,
    /// On how many servers it is kept: 1, 3 or 5.
    pub replicas: usize,
    /// The largest size of the stream in bytes; `None`: what the server allows.
    pub max_bytes: Option<i64>,
    /// How long an append or a read waits for its answer.
    pub answer_within: Duration,
}

/// How a node signs in to the servers.
#[derive(Clone)]
pub enum NatsCredentials {
    /// Nobody: the servers let everybody in.
    None,
    /// A credentials file, with a token and a seed.
    File(PathBuf),
    /// A user and a password.
    Password(String, String),
    /// The seed of an nkey.
    Nkey(String),
}

/// TLS to the servers. A server that requires it gets it in any case.
#[derive(Clone, Default)]
pub struct NatsTls {
    /// Refuse servers that do not offer it.
    pub required: bool,
    /// A file with the certificates of the authorities to trust, in place of those of the system.
    pub authorities: Option<PathBuf>,
    /// The files with our own certificate and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// Where a log keeps its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStorage {
    /// On disk.
    File,
    /// In memory: nothing is left when all its servers start again at once.
    Memory,
}

impl NatsSettings {
    /// The settings for a log of this name at this server: on disk, one replica.
    pub fn new(server: &str, name: &str) -> Self {
        Self {
            servers: vec![server.to_owned()],
            credentials: NatsCredentials::None,
            tls: NatsTls::default(),
            name: name.to_owned(),
            storage: LogStorage::File,
            replicas: 1,
            max_bytes: None,
            answer_within: Duration::from_secs(5),
        }
    }

    pub(super) fn has_valid_name(&self) -> bool {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=32).contains(&self.name.len()) && self.name.bytes().all(allowed)
    }
}
