//! A door under callgrind, and what talks to it.

use doorstep_tests::client::{Socket, User};
use doorstep_tests::server::{Doorstep, Server};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::callgrind::{COUNTER, Callgrind};

const SECRET: &str = "a secret of thirty-two bytes ok!";
const PAYLOAD_BYTES: usize = 200;
const FILE: &str = "
[delivery]
max_pending = 10000000
ttl = \"10m\"
ack_timeout = \"10m\"
[trading]
enabled = false
[inbox]
enabled = false
[handover]
enabled = false
[limits]
connections_per_address = 100000
http_connections_per_address = 100000
[jwt]
issuer = \"shop\"
audience = \"doorstep\"
";

pub(super) struct Door {
    server: Server,
    publisher: TcpStream,
    key: String,
    pub(super) counts: Callgrind,
}

/// The program under which the server runs.
type Program = &'static [&'static str];

impl Door {
    pub(super) async fn open() -> Self {
        Self::under(&COUNTER).await
    }

    pub(super) async fn without_callgrind() -> Self {
        Self::under(&[]).await
    }

    /// The server's resident bytes.
    pub(super) fn resident(&self) -> u64 {
        let map = format!("/proc/{}/smaps_rollup", self.server.pid().unwrap());
        let map = std::fs::read_to_string(map).unwrap();
        let line = map.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    async fn under(program: Program) -> Self {
        let made = Doorstep::new(&["key", "new", "bench"]).run().await;
        let (key, line) = made.stdout.split_once('\n').unwrap();
        let file = format!("{FILE}[jwt.keys.shop]\nkey = {SECRET:?}\n[keys]\n{line}");
        let call = Doorstep::new(&["--listen", "127.0.0.1:0"])
            .file("doorstep.toml", &file)
            .env("DOORSTEP_LOG", "warn")
            // With several, it depends on chance which one is woken.
            .env("TOKIO_WORKER_THREADS", "1")
            .under(program);
        let server = call.start().await;
        let counts = Callgrind::of(server.pid().unwrap(), call.dir());
        let address = server.url().trim_start_matches("http://");
        let publisher = TcpStream::connect(address).await.unwrap();
        Self { publisher, key: key.to_owned(), counts, server }
    }

    /// Publishes one for each of these users, in one request.
    pub(super) async fn publish(&mut self, users: &[String], ttl: u32) {
        let payload = "x".repeat(PAYLOAD_BYTES - 2);
        let drafts: Vec<_> = users
            .iter()
            .map(|user| json!({"user_id": user, "kind": "bench", "ttl": ttl, "payload": payload}))
            .collect();
        let body = match &*drafts {
            [one] => one.to_string(),
            many => serde_json::to_string(many).unwrap(),
        };
        let request = format!(
            "POST /v1/notifications HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.key,
            body.len()
        );
        self.publisher.write_all(request.as_bytes()).await.unwrap();
        self.receive().await;
    }

    /// Reads one response, which must be a 202 with nothing rejected.
    async fn receive(&mut self) {
        let mut buffer = Vec::new();
        loop {
            assert_ne!(self.publisher.read_buf(&mut buffer).await.unwrap(), 0, "it closed");
            let text = String::from_utf8_lossy(&buffer);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            assert!(head.starts_with("HTTP/1.1 202"), "{text}");
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.unwrap().parse().unwrap() {
                assert!(!body.contains("rejected"), "{body}");
                return;
            }
        }
    }

    /// Opens a WebSocket for a user.
    pub(super) async fn connect(&self, user: &str, subprotocol: &str) -> Socket {
        let claims =
            json!({"sub": user, "iss": "shop", "aud": "doorstep", "exp": 4_000_000_000_u64});
        let header = Header { kid: Some("shop".into()), ..Header::new(Algorithm::HS256) };
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let token = encode(&header, &claims, &key).unwrap();
        User::with_token(self.server.url(), user, &token).connect(subprotocol).await
    }
}
