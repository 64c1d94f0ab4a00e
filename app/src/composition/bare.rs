//! Doorstep without its simulation: the door, for the users of other backends. No users, sessions, ledger or
//! page of its own; and where neither inbox nor handover is wanted, no database.

use std::sync::Arc;

use doorstep_adapters::api;
use doorstep_adapters::bus::Bus;
use doorstep_adapters::connections::Connections;
use doorstep_adapters::http::openapi::OpenApi as _;
use doorstep_adapters::http::{self, Listener, Router};
use doorstep_adapters::metrics::Metrics;
use doorstep_adapters::publish;
use doorstep_adapters::sql;
use doorstep_adapters::sse::{self, SseParts};
use doorstep_adapters::system::{NothingKept, SystemClock};
use doorstep_adapters::websocket::{self, WebSocketParts};
use doorstep_application::Announce;
use doorstep_application::delivery::Delivery;
use doorstep_application::inbox::InboxViews;
use doorstep_domain::ports::{Clock, Readiness};
use tokio_util::sync::CancellationToken;

use super::{Backends, Figures, Node, STREAM_HEARTBEAT};
use crate::config::Config;
use crate::page;

/// Puts the parts together and serves. When it returns, what an earlier process left is taken up.
pub(super) async fn start(
    config: &Config,
    store: Option<Arc<sql::Store>>,
    listener: Listener,
) -> anyhow::Result<Node> {
    let address = listener.address()?;
    let figures = Figures::bind(config).await?;
    let public_figures = figures.are_public();
    let stopping = CancellationToken::new();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let backends = Backends::start(config, clock.clone())?;
    let readiness: Arc<dyn Readiness> = match &store {
        Some(store) => store.clone(),
        None => Arc::new(NothingKept),
    };

    // Live connections, and the delivery that pushes through them.
    let connections = Arc::new(Connections::new(config.connections()));
    let events = Bus::wire();
    let announce = Announce::new(events.publisher());
    let bus = events.start();
    let metrics = Arc::new(Metrics::new()?);
    let mut delivery = Delivery::builder(connections.clone(), connections.clone(), clock.clone())
        .rules(config.delivery.rules())
        .limits(config.delivery.limits())
        .outcomes(metrics.outcomes())
        .outcomes(Arc::new(announce));
    if let Some(store) = store.clone().filter(|_| config.inbox.enabled) {
        delivery = delivery.inbox(store);
    }
    if let Some(store) = store.clone().filter(|_| config.handover.enabled) {
        delivery = delivery.handover(store);
    }
    let delivery = Arc::new(backends.observe(delivery).start()?);
    metrics.delivery(delivery.clone())?;
    metrics.connections(connections.clone())?;
    metrics.bus(bus.clone())?;
    backends.measure(&metrics)?;

    // What an earlier process could not finish, before anybody can connect.
    match delivery.take_up().await {
        Ok(0) => {}
        Ok(notifications) => tracing::info!(notifications, "took up what was left"),
        Err(error) => {
            // It goes back to where it was taken from.
            delivery.stop(config.server.stop_within.0).await;
            return Err(error.into());
        }
    }
    if config.backends.jwt.keys.is_empty() {
        tracing::warn!("nobody can connect: there is neither a simulation nor a key for tokens");
    }

    let authenticator = backends.authenticator(None);
    let sockets = WebSocketParts {
        connections: connections.clone(),
        settings: Arc::new(config.websocket()),
        delivery: delivery.clone(),
        authenticator: authenticator.clone(),
        clock: clock.clone(),
    };
    let event_streams = SseParts {
        connections: connections.clone(),
        heartbeat: STREAM_HEARTBEAT,
        delivery: delivery.clone(),
        authenticator: authenticator.clone(),
        clock,
    };
    let client = api::assets::router(&page::CLIENT);
    let mut receiving = client.merge(websocket::router(sockets)).merge(sse::router(event_streams));
    let inbox = store.clone().filter(|_| config.inbox.enabled);
    if let Some(store) = inbox {
        let inbox = InboxViews::new(store, delivery.clone());
        receiving = receiving.merge(api::inbox::router(inbox, authenticator));
    }
    let receiving = http::for_origins(receiving, &config.server.allowed_origins);
    let families = Router::new()
        .merge(api::health::router(readiness, stopping.clone()))
        .merge(figures.serve(config, metrics, &stopping))
        .merge(backends.router(delivery.clone(), connections.clone(), stopping.clone()))
        .merge(receiving);
    let mut descriptions = vec![
        api::health::Description::openapi(),
        publish::Description::openapi(),
        websocket::Description::openapi(),
        sse::Description::openapi(),
    ];
    if public_figures {
        descriptions.push(api::metrics::Description::openapi());
    }
    if config.inbox.enabled && store.is_some() {
        descriptions.push(api::inbox::Description::openapi());
    }
    let families = http::with_shared_layers(families.merge(http::openapi::router(descriptions)));
    let settings = config.http();
    let http = tokio::spawn(http::serve(listener, families, settings, stopping.clone()));
    Ok(Node {
        address,
        store,
        bus,
        connections,
        delivery,
        backends,
        stopping,
        closing: CancellationToken::new(),
        prices: None,
        http,
        stop_within: config.server.stop_within.0,
    })
}
