use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service as _;

/// How the server treats its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerSettings {
    /// HTTP connections at once (an upgraded one no longer counts); beyond them, new ones wait in the
    /// system's queue.
    pub max_connections: usize,
    /// A client has so long to send a request's head, and for an idle connection to be used again.
    pub header_timeout: Duration,
    /// At a stop, requests that have begun get so long to end.
    pub stop_timeout: Duration,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            header_timeout: Duration::from_secs(30),
            stop_timeout: Duration::from_secs(5),
        }
    }
}

/// Serves until `stopping`, then lets the requests that have begun end, and returns.
///
/// `axum::serve` would do, but for what it leaves open: a client that never finishes its request's head
/// holds its connection forever, and there may be any number of such clients.
pub async fn serve(
    listener: TcpListener,
    routes: Router,
    settings: ServerSettings,
    stopping: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(settings.max_connections.max(1)));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stopping.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let (stream, peer, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly. Others will be closed; asking at once again would spin.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (routes, stopping) = (routes.clone(), stopping.clone());
        connections.spawn(async move {
            connection(stream, peer, routes, settings, stopping).await;
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(settings.stop_timeout, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "requests were still being answered");
    }
}

type Place = tokio::sync::OwnedSemaphorePermit;

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, Place)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    // A push is one small frame; it must not wait for a second one to share a packet with.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    Ok((stream, peer, place))
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    routes: Router,
    settings: ServerSettings,
    stopping: CancellationToken,
) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        // A router is always ready: it says so in its docs.
        routes.clone().call(request.map(Body::new))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_timeout)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // A client that went away, or sent what is not HTTP: its own affair.
        tracing::debug!(%peer, %error, "a connection ended early");
    }
}
