use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use axum::routing::Route;
use doorstep_application::publishing::ServiceKeys;
use doorstep_domain::SentBy;
use futures_util::future::Either;
use tower_layer::Layer;
use tower_service::Service;
use tracing::Instrument as _;
use tracing::instrument::Instrumented;

use crate::http::{Problem, bearer_token};

/// Lets only requests with a service key through to these routes. Nothing of a request's body is read before.
pub fn with_key(routes: Router, keys: Arc<ServiceKeys>) -> Router {
    routes.route_layer(KeyLayer(keys))
}

/// The name of the service key of a request.
#[derive(Clone)]
pub(super) struct KeyName(Arc<str>);

/// Returns the sender of a publish request: its service key, by name.
pub(super) fn sender_of(request: &Request) -> SentBy {
    let name = request.extensions().get::<KeyName>();
    name.map_or(SentBy::Program, |KeyName(name)| SentBy::Key(Arc::clone(name)))
}

/// A service of its own and not one of axum's function layers, which would cost each request four allocations.
#[derive(Clone)]
struct KeyLayer(Arc<ServiceKeys>);

impl Layer<Route> for KeyLayer {
    type Service = KeyedRoute;

    fn layer(&self, route: Route) -> KeyedRoute {
        KeyedRoute { keys: Arc::clone(&self.0), route }
    }
}

#[derive(Clone)]
struct KeyedRoute {
    keys: Arc<ServiceKeys>,
    route: Route,
}

impl Service<Request> for KeyedRoute {
    type Response = Response;
    type Error = Infallible;
    type Future = Either<
        Ready<Result<Response, Infallible>>,
        Instrumented<<Route as Service<Request>>::Future>,
    >;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request>::poll_ready(&mut self.route, cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let key = bearer_token(request.headers()).ok_or_else(Problem::no_token);
        match key.and_then(|key| self.keys.name_of(key).ok_or_else(Problem::no_service_key)) {
            Ok(name) => {
                // Every log line about the request names the key.
                let span = tracing::info_span!("service", key = %name);
                request.extensions_mut().insert(KeyName(name));
                Either::Right(self.route.call(request).instrument(span))
            }
            Err(problem) => Either::Left(ready(Ok(problem.into_response()))),
        }
    }
}
