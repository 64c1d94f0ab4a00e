use doorstep_tests::server::{Doorstep as Command, Server};
use doorstep_tests::tls::{self, TlsClient};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;
use tokio_tungstenite::tungstenite::ClientRequestBuilder;

use super::{Contestant, Guard, Protocol, Running};
use crate::process::Processes;

const SECRET: &str = "a secret of thirty-two bytes ok!";

/// The door alone, as another backend uses it. The limits do not matter here, except for that of the descriptors.
const FILE: &str = r#"
[delivery]
max_pending = 20_000_000
max_pending_bytes = "8GiB"
ack_timeout = "30s"
[trading]
enabled = false
[inbox]
enabled = false
[handover]
enabled = false
[publish]
remember = 1_000_000
[limits]
connections = 1_000_000
connections_per_address = 1_000_000
http_connections = 1_000_000
http_connections_per_address = 1_000_000
[jwt]
issuer = "shop"
audience = "doorstep"
"#;

/// What a client of a door needs.
pub(super) struct Door {
    key: String,
    tokens: EncodingKey,
}

/// What servers share that take the same keys.
struct Keys {
    /// A service key.
    key: String,
    /// A configuration with its line.
    file: String,
}

impl Keys {
    async fn new() -> Self {
        let made = Command::new(&["key", "new", "load"]).run().await;
        let (key, line) = made.stdout.split_once('\n').expect("a key and its line");
        let file = format!("{FILE}[jwt.keys.shop]\nkey = {SECRET:?}\n[keys]\n{line}\n");
        Self { key: key.to_owned(), file }
    }

    fn door(&self) -> Door {
        Door { key: self.key.clone(), tokens: EncodingKey::from_secret(SECRET.as_bytes()) }
    }
}

fn command(file: &str) -> Command {
    Command::new(&["--listen", "127.0.0.1:0"])
        .file("doorstep.toml", file)
        .env("DOORSTEP_LOG", "warn")
}

fn running(contestant: Contestant, server: Server, door: Door) -> Running {
    Running {
        contestant,
        address: server.address(),
        processes: Processes::of(server.pid().expect("it runs")),
        tls: None,
        protocol: Protocol::Doorstep(door),
        process: Guard::Doorstep(server),
    }
}

pub(super) async fn start(contestant: Contestant) -> Running {
    let keys = Keys::new().await;
    let is_tls = contestant == Contestant::DoorstepTls;
    let mut file = keys.file.clone();
    if is_tls {
        let path = |name| tls::fixture(name).display().to_string();
        file += &tls::section(&path("server.pem"), &path("server.key"));
    }
    let mut command = command(&file);
    if contestant == Contestant::DoorstepOneWorker {
        command = command.env("TOKIO_WORKER_THREADS", "1");
    }
    let server = command.start().await;
    Running { tls: is_tls.then(TlsClient::new), ..running(contestant, server, keys.door()) }
}

/// Nodes with the same configuration, which share a log if there is one.
pub(crate) struct Nodes {
    keys: Keys,
    nats: Option<String>,
}

impl Nodes {
    /// Prepares nodes whose log is at this address of NATS; `None` for a node alone.
    pub(crate) async fn new(nats: Option<String>) -> Self {
        Self { keys: Keys::new().await, nats }
    }

    /// Starts one more. It may not be ready yet.
    pub(crate) async fn start(&self) -> Running {
        // Nothing expires while a million of notifications is published.
        let mut command = command(&self.keys.file).env("DOORSTEP_DELIVERY__TTL", "1h");
        if let Some(nats) = &self.nats {
            command = command.env("DOORSTEP_CLUSTER__NATS", nats);
        }
        running(Contestant::Doorstep, command.start().await, self.keys.door())
    }
}

impl Door {
    pub(super) fn headers(&self) -> String {
        format!("authorization: Bearer {}\r\ncontent-type: application/json\r\n", self.key)
    }

    /// A user's token.
    pub(super) fn token(&self, user: &str) -> String {
        let claims =
            json!({"sub": user, "iss": "shop", "aud": "doorstep", "exp": 4_000_000_000_u64});
        let header = Header { kid: Some("shop".into()), ..Header::new(Algorithm::HS256) };
        encode(&header, &claims, &self.tokens).expect("a token")
    }

    pub(super) fn subscribe(
        &self,
        request: ClientRequestBuilder,
        user: &str,
        acknowledges: bool,
    ) -> ClientRequestBuilder {
        request
            .with_header("authorization", format!("Bearer {}", self.token(user)))
            .with_sub_protocol(if acknowledges { "doorstep.v1" } else { "doorstep.plain.v1" })
    }
}

/// One object, or an array of several.
pub(super) fn body(messages: &[(String, String)]) -> String {
    let draft = |(user, payload): &(String, String)| {
        format!("{{\"user_id\":\"{user}\",\"kind\":\"load\",\"payload\":{payload}}}")
    };
    match messages {
        [one] => draft(one),
        several => format!("[{}]", several.iter().map(draft).collect::<Vec<_>>().join(",")),
    }
}
