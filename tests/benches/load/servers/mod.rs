//! The servers that are measured. Each is started for one measurement, on loopback, and killed afterwards.

mod doorstep;
mod nchan;
mod socket_io;

use std::net::SocketAddr;

use doorstep_tests::server::Server;
use doorstep_tests::tls::TlsClient;
use tempfile::TempDir;
use tokio::process::Child;
use tokio_tungstenite::tungstenite::ClientRequestBuilder;

use crate::process::Processes;
use doorstep::Door;
pub(crate) use doorstep::Nodes;

/// Which server is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub(crate) enum Contestant {
    /// Doorstep: tokens of users are checked, and each notification has one outcome.
    Doorstep,
    /// The same with one worker thread, as the two others have.
    DoorstepOneWorker,
    /// The same, with TLS at the door.
    DoorstepTls,
    /// Nchan: a module of nginx, in C. It checks no tokens.
    Nchan,
    /// Socket.IO: rooms, and a map of what waits, which is flushed at a connection. It checks no tokens.
    SocketIo,
}

impl Contestant {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Doorstep => "Doorstep",
            Self::DoorstepOneWorker => "Doorstep, one worker",
            Self::DoorstepTls => "Doorstep, TLS",
            Self::Nchan => "Nchan",
            Self::SocketIo => "Socket.IO",
        }
    }

    /// Whether a request can have several messages.
    pub(crate) fn has_batches(self) -> bool {
        !matches!(self, Self::Nchan | Self::SocketIo)
    }

    pub(crate) async fn start(self) -> Running {
        match self {
            Self::Doorstep | Self::DoorstepOneWorker | Self::DoorstepTls => {
                doorstep::start(self).await
            }
            Self::Nchan => nchan::start().await,
            Self::SocketIo => socket_io::start().await,
        }
    }
}

/// A server that has been started.
pub(crate) struct Running {
    pub(crate) contestant: Contestant,
    pub(crate) address: SocketAddr,
    pub(crate) processes: Processes,
    /// How its clients speak TLS, if they do.
    pub(crate) tls: Option<TlsClient>,
    protocol: Protocol,
    process: Guard,
}

/// How it is talked to.
enum Protocol {
    Doorstep(Door),
    Nchan,
    SocketIo,
}

/// Ends the server when it is dropped.
enum Guard {
    Doorstep(Server),
    Other(Child, #[expect(dead_code, reason = "removed when it is dropped")] TempDir),
}

impl Running {
    /// The bytes of a request that publishes these messages: users and payloads.
    ///
    /// # Panics
    /// When there are several, and the server has no batches.
    pub(crate) fn publish(&self, messages: &[(String, String)]) -> Vec<u8> {
        let (path, headers, body) = match (&self.protocol, messages) {
            (Protocol::Doorstep(door), _) => {
                ("/v1/notifications".to_owned(), door.headers(), doorstep::body(messages))
            }
            (Protocol::Nchan, [(user, payload)]) => {
                (format!("/publish?id={user}"), String::new(), payload.clone())
            }
            (Protocol::SocketIo, [(user, payload)]) => {
                let body = format!("{{\"user\":\"{user}\",\"payload\":{payload}}}");
                ("/publish".to_owned(), "content-type: application/json\r\n".to_owned(), body)
            }
            _ => panic!("{} has no batches", self.contestant.name()),
        };
        format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\n{headers}content-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .into_bytes()
    }

    /// The request that opens a user's WebSocket.
    pub(crate) fn subscribe(&self, user: &str, acknowledges: bool) -> ClientRequestBuilder {
        let path = match self.protocol {
            Protocol::Doorstep(_) => "/v1/ws".to_owned(),
            Protocol::Nchan => format!("/subscribe?id={user}"),
            Protocol::SocketIo => "/socket.io/?EIO=4&transport=websocket".to_owned(),
        };
        let url = format!("ws://{}{path}", self.address);
        let request = ClientRequestBuilder::new(url.parse().expect("a URL"));
        match &self.protocol {
            Protocol::Doorstep(door) => door.subscribe(request, user, acknowledges),
            _ => request,
        }
    }

    /// The bytes of a handshake, for attackers that have no WebSocket library.
    ///
    /// # Panics
    /// When it is not Doorstep: only its defences are measured.
    pub(crate) fn handshake(&self, user: &str) -> Vec<u8> {
        let Protocol::Doorstep(door) = &self.protocol else { panic!("only Doorstep is attacked") };
        format!(
            "GET /v1/ws HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             authorization: Bearer {}\r\n\r\n",
            door.token(user)
        )
        .into_bytes()
    }

    /// The headers of a publish request.
    pub(crate) fn headers(&self) -> String {
        match &self.protocol {
            Protocol::Doorstep(door) => door.headers(),
            _ => String::new(),
        }
    }

    /// What its clients must do besides WebSocket itself.
    pub(crate) fn is_engine_io(&self) -> bool {
        matches!(self.protocol, Protocol::SocketIo)
    }

    /// Asks it to stop.
    ///
    /// # Panics
    /// When it is not Doorstep, whose stop is what is measured.
    pub(crate) fn terminate(&self) {
        match &self.process {
            Guard::Doorstep(server) => server.terminate(),
            Guard::Other(..) => panic!("only Doorstep's stop is measured"),
        }
    }

    /// Ends it at once.
    pub(crate) async fn kill(self) {
        match self.process {
            Guard::Doorstep(server) => drop(server.kill().await),
            Guard::Other(mut child, _) => child.kill().await.expect("it ends"),
        }
    }
}
