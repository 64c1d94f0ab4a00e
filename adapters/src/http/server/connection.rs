use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::http::{HeaderValue, Request, Response, header};
use axum::response::IntoResponse as _;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::ServerSettings;
use super::listener::Peer;
use super::places::ConnectionPlace;
use super::unread::RequestBody;
use super::watch::{Watch, Watched};
#[cfg(feature = "tls")]
use super::{TlsConfigs, handshake::handshake};
use crate::http::client_address::ClientAddress;
use crate::http::{Endpoints, Problem};

/// One connection, from the accept to its end or its upgrade.
pub(super) struct HttpConnection {
    pub(super) watch: Arc<Watch>,
    pub(super) place: ConnectionPlace,
    pub(super) service: Service,
    pub(super) http: http1::Builder,
}

impl HttpConnection {
    pub(super) async fn run<S>(self, socket: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let socket = Watched::new(socket, Arc::clone(&self.watch));
        self.serve(socket).await;
    }

    /// Like [`run`](Self::run), over TLS. To the limits, a handshake is the beginning of the first request's head: it
    /// has the same time together with it, its bytes count, and it gives way to others. All of them watch the socket
    /// below TLS, because only there it is known whether the client takes what is written.
    #[cfg(feature = "tls")]
    pub(super) async fn run_tls<S>(mut self, socket: S, configs: TlsConfigs)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let socket = Watched::new(socket, Arc::clone(&self.watch));
        let Service { peer, settings, stopping, .. } = &self.service;
        let stream = tokio::select! {
            done = handshake(socket, &configs) => match done {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::debug!(?peer, %error, "a TLS handshake failed");
                    return;
                }
            },
            () = overdue(&self.watch, &mut self.place, settings, *peer) => return,
            () = stopping.cancelled() => return,
        };
        self.serve(stream).await;
    }

    async fn serve<S>(self, socket: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { watch, mut place, service, http } = self;
        let (settings, stopping) = (Arc::clone(&service.settings), service.stopping.clone());
        let peer = service.peer;
        let service = Arc::new(service);
        let serve = service_fn(move |request| Arc::clone(&service).answer(request));
        let connection = http.serve_connection(TokioIo::new(socket), serve).with_upgrades();
        let overdue = overdue(&watch, &mut place, &settings, peer);
        tokio::pin!(connection, overdue);
        let mut stops = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        // The client went away, or sent something other than HTTP.
                        tracing::debug!(?peer, %error, "a connection ended early");
                    }
                    return;
                }
                () = stopping.cancelled(), if !stops => {
                    stops = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = overdue.as_mut() => return,
            }
        }
    }
}

/// Waits until the connection must end: it takes too long, or has to give way to another.
async fn overdue(
    watch: &Arc<Watch>,
    place: &mut ConnectionPlace,
    settings: &ServerSettings,
    peer: Peer,
) {
    let timer = tokio::time::sleep(std::time::Duration::ZERO);
    tokio::pin!(timer);
    loop {
        tokio::select! {
            () = watch.large_head(), if !place.keeps_large_buffer() => {
                place.has_large_buffer(Arc::clone(watch));
            }
            () = place.give_way() => {
                tracing::debug!(?peer, "a connection that waited gave way to another");
                return;
            }
            () = timer.as_mut() => match watch.check(settings) {
                Ok(next) => timer.as_mut().reset(next),
                Err(overdue) => {
                    tracing::debug!(?peer, ?overdue, "a connection was closed");
                    return;
                }
            },
        }
    }
}

/// Serves the requests of one connection.
pub(super) struct Service {
    pub(super) endpoints: Endpoints,
    pub(super) peer: Peer,
    pub(super) watch: Arc<Watch>,
    pub(super) settings: Arc<ServerSettings>,
    /// The connection may only be used for the paths that places are reserved for.
    pub(super) reserved: bool,
    pub(super) stopping: CancellationToken,
}

impl Service {
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<AnswerBody>, Infallible> {
        self.watch.busy();
        let answered = Answered(Arc::clone(&self.watch));
        let client = ClientAddress::new(self.peer, request.headers(), &self.settings.proxies);
        if self.reserved && !request.uri().path().starts_with(self.settings.reserved_for) {
            let problem = Problem::try_later("all connections are busy; try again soon");
            let mut response = problem.into_response();
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            return Ok(response.map(|body| AnswerBody { body, _answered: answered }));
        }
        let pace = self.watch.pace().clone();
        let unasked = request.headers().contains_key(header::EXPECT);
        let mut request = request.map(|incoming| {
            axum::body::Body::new(RequestBody::new(incoming, unasked, Arc::clone(&self)))
        });
        request.extensions_mut().insert(client);
        // For responses that last as long as their connection.
        request.extensions_mut().insert(pace);
        let response = self.endpoints.answer(request).await;
        Ok(response.map(|body| AnswerBody { body, _answered: answered }))
    }
}

/// A response body that reports when it has been handed to the connection.
struct AnswerBody {
    body: axum::body::Body,
    _answered: Answered,
}

struct Answered(Arc<Watch>);

impl Drop for Answered {
    fn drop(&mut self) {
        self.0.idle();
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
