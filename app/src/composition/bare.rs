//! Doorstep without its simulation: the door, for the users of other backends. No users, sessions, ledger or
//! page of its own; and where neither inbox nor handover is wanted, no database.

use std::sync::Arc;

use doorstep_adapters::bus::Bus;
use doorstep_adapters::http::openapi::OpenApi as _;
use doorstep_adapters::http::{self, Router, ServerSettings};
use doorstep_adapters::publish;
use doorstep_adapters::sql::{self, Tables};
use doorstep_adapters::system::SystemClock;
use doorstep_adapters::websocket::{self, Connections, WebSocketParts};
use doorstep_application::delivery::Delivery;
use doorstep_domain::ports::{Clock, Readiness};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Backends, Node};
use crate::always_ready::AlwaysReady;
use crate::announce::Announce;
use crate::config::Config;

/// Puts the parts together and serves. When it returns, what an earlier process left is taken up.
pub(super) async fn start(config: &Config, listener: TcpListener) -> anyhow::Result<Node> {
    let address = listener.local_addr()?;
    let stopping = CancellationToken::new();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let backends = Backends::start(config, clock.clone())?;

    let store = match config.needs_store() {
        true => {
            Some(Arc::new(sql::connect_to(config.database.as_str(), Tables::OfDelivery).await?))
        }
        false => None,
    };
    let readiness: Arc<dyn Readiness> = match &store {
        Some(store) => store.clone(),
        None => Arc::new(AlwaysReady),
    };

    let connections = Arc::new(Connections::new(config.websocket()));
    let events = Bus::wire();
    let announce = Announce(events.publisher());
    let bus = events.start();
    let mut delivery = Delivery::builder(connections.clone(), connections.clone(), clock.clone())
        .rules(config.delivery.rules())
        .limits(config.delivery.limits())
        .outcomes(Arc::new(announce));
    if let Some(store) = store.clone().filter(|_| config.inbox.enabled) {
        delivery = delivery.inbox(store);
    }
    if let Some(store) = store.clone().filter(|_| config.handover.enabled) {
        delivery = delivery.handover(store);
    }
    let delivery = Arc::new(backends.observe(delivery).start());
    let taken_up = delivery.take_up().await?;
    if taken_up > 0 {
        tracing::info!(notifications = taken_up, "took up what was left");
    }
    if config.backends.jwt.keys.is_empty() {
        tracing::warn!("nobody can connect: there is neither a simulation nor a key for tokens");
    }

    let sockets = WebSocketParts {
        connections: connections.clone(),
        delivery: delivery.clone(),
        authenticator: backends.authenticator(None),
        clock,
    };
    let families = Router::new()
        .merge(http::health::router(readiness, stopping.clone()))
        .merge(backends.router(delivery.clone(), connections.clone(), stopping.clone()))
        .merge(websocket::router(sockets))
        .merge(http::openapi::router(vec![
            http::health::Description::openapi(),
            publish::Description::openapi(),
            websocket::Description::openapi(),
        ]));
    let http =
        http::serve(listener, http::api(families), ServerSettings::default(), stopping.clone());
    let http = tokio::spawn(http);
    let stop_within = config.server.stop_within.0;
    Ok(Node { address, store, bus, connections, delivery, backends, stopping, http, stop_within })
}
