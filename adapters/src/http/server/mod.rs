mod connection;
mod listener;
mod places;
#[cfg(test)]
mod tests;
mod unread;
mod watch;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::TokioTimer;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::connection::{HttpConnection, Service};
pub(crate) use self::listener::Peer;
use self::listener::Stream;
pub use self::listener::{Address, BindError, Listener};
use self::places::{Admission, PlaceKind, Places};
use self::watch::Watch;
use super::TrustedProxies;
use super::client::ClientAddress;
use super::limit_log::LimitLog;
use super::rate_limit::network;

/// How the server treats its connections.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// HTTP connections at once (an upgraded one no longer counts). Beyond them, those that wait for a request give
    /// way, the longest waiting first.
    pub max_connections: usize,
    /// HTTP connections from one address, streams included. A trusted proxy has no such limit.
    pub max_per_address: usize,
    /// Further connections while all others are busy, for requests below [`reserved_for`](Self::reserved_for) only.
    pub reserved: usize,
    /// Where paths begin for which places are reserved, such as `/health/`.
    pub reserved_for: &'static str,
    /// How long a client has to send the head of a request.
    pub head_timeout: Duration,
    /// How long a connection is kept open between two requests: longer than the 60 s of common proxies, or a proxy
    /// sends a request on a connection that is being closed.
    pub keep_alive: Duration,
    /// How long a socket may take no byte of an answer before its connection is closed.
    pub write_timeout: Duration,
    /// How long requests that have begun may take to end at a stop.
    pub stop_timeout: Duration,
    /// The proxies whose word about the client's address counts.
    pub proxies: TrustedProxies,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_per_address: 1000,
            reserved: 64,
            reserved_for: "/health/",
            head_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            stop_timeout: Duration::from_secs(5),
            proxies: TrustedProxies::default(),
        }
    }
}

/// The largest head of a request, in bytes; a larger one is a 431.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// Serves until `stopping`, then lets the requests that have begun end, and returns.
///
/// `axum::serve` bounds neither the connections nor the time of an unfinished head, of an idle connection or of an
/// answer that nobody reads; this does.
pub async fn serve(
    listener: impl Into<Listener>,
    routes: Router,
    settings: ServerSettings,
    stopping: CancellationToken,
) {
    let listener = listener.into();
    let places = Arc::new(Places::new(&settings));
    let settings = Arc::new(settings);
    let limit_log = LimitLog::new("limits.http_connections_per_address");
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stopping.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Mostly too many open files: some will be closed, and trying again at once would spin.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let watch = Arc::new(Watch::begin());
        let limited = limited_address(peer, &settings.proxies);
        let place = match places.admit(limited, Arc::clone(&watch)) {
            Admission::Place(place) => place,
            Admission::AddressFull => {
                limit_log.reached(&ClientAddress::from_peer(peer, &settings.proxies));
                refuse(&stream, "429 Too Many Requests");
                continue;
            }
            Admission::Full => {
                refuse(&stream, "503 Service Unavailable");
                continue;
            }
        };
        let service = Service {
            routes: routes.clone(),
            peer,
            watch: Arc::clone(&watch),
            settings: Arc::clone(&settings),
            reserved: place.kind() == PlaceKind::Reserved,
            stopping: stopping.clone(),
        };
        let connection = HttpConnection { watch, place, service, http: http() };
        connections.spawn(async move {
            match stream {
                Stream::Tcp(stream) => connection.run(stream).await,
                Stream::Unix(stream) => connection.run(stream).await,
            }
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(settings.stop_timeout, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "requests were still being answered");
    }
}

fn http() -> hyper::server::conn::http1::Builder {
    let mut http = hyper::server::conn::http1::Builder::new();
    // The times are kept by `Watch`, which knows an idle connection from an unfinished head.
    http.timer(TokioTimer::new()).header_read_timeout(None).max_header_size(MAX_HEAD_BYTES);
    http.max_buf_size(2 * MAX_HEAD_BYTES);
    http
}

/// The address whose connections are counted; none for a trusted proxy and for a Unix socket.
fn limited_address(peer: Peer, proxies: &TrustedProxies) -> Option<IpAddr> {
    match peer {
        Peer::Tcp(address) if !proxies.trust(address.ip()) => Some(network(address.ip())),
        Peer::Tcp(_) | Peer::Unix => None,
    }
}

/// Answers without reading, as far as the socket takes it at once.
fn refuse(stream: &Stream, status: &str) {
    let answer = format!(
        "HTTP/1.1 {status}\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    );
    let written: io::Result<usize> = match stream {
        Stream::Tcp(stream) => stream.try_write(answer.as_bytes()),
        Stream::Unix(stream) => stream.try_write(answer.as_bytes()),
    };
    if let Err(error) = written {
        tracing::debug!(%error, "a refusal was not written");
    }
}
