mod connection;
#[cfg(feature = "tls")]
mod handshake;
mod large_heads;
mod listener;
mod places;
mod refusal;
#[cfg(test)]
mod tests;
#[cfg(feature = "tls")]
#[cfg(test)]
mod tls_tests;
mod unread;
mod watch;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioTimer;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::connection::{HttpConnection, Service};
pub(crate) use self::listener::Peer;
use self::listener::Stream;
#[cfg(feature = "tls")]
pub use self::listener::TlsConfigs;
pub use self::listener::{Address, BindError, Listener};
use self::places::{ConnectionAdmission, PlaceKind, Places};
use self::refusal::refuse;
use self::watch::Watch;
use super::client_address::ClientAddress;
use super::limit_log::LimitLog;
use super::rate_limit::network;
use super::{Endpoints, TrustedProxies};

/// The server's limits and timeouts.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// HTTP connections at once (upgraded ones no longer count). When all are taken, a new connection replaces the
    /// one that has waited longest for a request.
    pub max_connections: usize,
    /// HTTP connections per address, streams included. Trusted proxies have no such limit.
    pub max_per_address: usize,
    /// Additional connections while all others are busy, only for paths that begin with
    /// [`reserved_for`](Self::reserved_for).
    pub reserved: usize,
    /// The prefix of the paths for which places are reserved, such as `/health/`.
    pub reserved_for: &'static str,
    /// How long a client may take to send the head of a request, including the TLS handshake before the first one.
    pub head_timeout: Duration,
    /// How long an idle connection is kept open: longer than the 60 s of common proxies, or a proxy may send a
    /// request on a connection that is being closed.
    pub keep_alive: Duration,
    /// How long a socket may take no byte of a response before its connection is closed.
    pub write_timeout: Duration,
    /// How long requests that have begun may take to finish during a stop.
    pub stop_timeout: Duration,
    /// The proxies that may name the client's address.
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

/// The largest request head, in bytes; a larger one gets a 431.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// Serves until `stopping` is cancelled, then lets the requests that have begun finish, and returns.
///
/// `axum::serve` bounds neither the number of connections nor the time of an unfinished head, an idle connection
/// or a response that nobody reads; this does.
pub async fn serve(
    listener: impl Into<Listener>,
    endpoints: Endpoints,
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
                // Usually too many open files: some will be closed, and an immediate retry would spin.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let watch = Arc::new(Watch::begin());
        let limited = limited_address(peer, &settings.proxies);
        let place = match places.admit(limited, Arc::clone(&watch)) {
            ConnectionAdmission::Place(place) => place,
            ConnectionAdmission::AddressFull => {
                limit_log.reached(&ClientAddress::from_peer(peer, &settings.proxies));
                refuse(stream, "429 Too Many Requests");
                continue;
            }
            ConnectionAdmission::Full => {
                refuse(stream, "503 Service Unavailable");
                continue;
            }
        };
        let service = Service {
            endpoints: endpoints.clone(),
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
                #[cfg(feature = "tls")]
                Stream::Tls(stream, tls) => connection.run_tls(stream, tls.configs).await,
                Stream::Unix(stream) => connection.run(stream).await,
            }
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(settings.stop_timeout, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "requests were still running at the stop");
    }
}

fn http() -> hyper::server::conn::http1::Builder {
    let mut http = hyper::server::conn::http1::Builder::new();
    // `Watch` enforces the timeouts: it can tell an idle connection from an unfinished head.
    http.timer(TokioTimer::new()).header_read_timeout(None).max_header_size(MAX_HEAD_BYTES);
    http.max_buf_size(2 * MAX_HEAD_BYTES);
    http
}

/// The address whose connections are counted; `None` for a trusted proxy and for a Unix socket.
fn limited_address(peer: Peer, proxies: &TrustedProxies) -> Option<IpAddr> {
    match peer {
        Peer::Tcp(address) if !proxies.trust(address.ip()) => Some(network(address.ip())),
        Peer::Tcp(_) | Peer::Unix => None,
    }
}
