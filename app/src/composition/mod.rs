//! The composition root: which adapter implements which port, and which handlers hear of which events.
//!
//! The door alone is the [`core`](Core); the full service is the core with the `simulation` on top. `start_with`
//! shows the whole service from top to bottom.
//!
//! | file | what |
//! | --- | --- |
//! | `core` | what every node has: connections, delivery, the bus, metrics, the receiving routes |
//! | `routes` | endpoint families with their descriptions |
//! | `backends` | the parts for other backends: the publish API, the tokens of their users, the webhook |
//! | `simulation` | users, money and the market, with the handlers of their events |
//! | `outbox` | consumes the outbox of a backend |
//! | `cluster` | several nodes: the log that they share, and each other |
//! | `certificate` | the certificate of the listener |
//! | `metrics_endpoint` | where `/metrics` is served |
//! | `stores` | what keeps the state, each part behind its port |
//! | `node`, `stop` | a running service, and the order in which it stops |

mod backends;
mod certificate;
mod cluster;
mod core;
mod metrics_endpoint;
mod node;
mod outbox;
mod routes;
mod simulation;
mod stop;
mod stores;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use doorstep_adapters::http::{self, Listener};
use doorstep_adapters::sql::{self, Sharing, Tables};
use doorstep_adapters::tls::ServerCertificate;
use doorstep_adapters::{api, bus};
use doorstep_application::inbox::ReadItems;
use doorstep_domain::ports::Clock;
use doorstep_domain::{SystemClock, V7Ids};

use crate::config::{Config, ConfigError};
use crate::{housekeeping, page};

use self::backends::Backends;
pub(crate) use self::certificate::certificate;
use self::cluster::ClusterNode;
pub use self::core::{Core, CoreParts};
use self::metrics_endpoint::MetricsEndpoint;
pub(crate) use self::node::RunningNode;
use self::outbox::ConfiguredOutbox;
pub use self::routes::Routes;
use self::simulation::TradingSimulation;
pub(crate) use self::stores::Stores;

/// Parts that can be left out, because nothing depends on them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    /// No handler makes notifications from events; users and money work as usual.
    pub(crate) without_notifications: bool,
}

/// Finds every fault of the configuration that only the parts find, such as a key that cannot be read. Starts and opens
/// nothing that lasts.
pub(crate) fn check(config: &Config) -> Result<(), ConfigError> {
    let mut faults = backends::faults(config);
    if let Err(ConfigError::Wrong(more)) = certificate(config) {
        faults.extend(more);
    }
    if faults.is_empty() { Ok(()) } else { Err(ConfigError::Wrong(faults)) }
}

/// Opens the store and starts with it.
pub(crate) async fn start(
    config: &Config,
    listener: impl Into<Listener> + Send,
    options: Options,
) -> anyhow::Result<RunningNode> {
    let stores = Stores::all_in(open_store(config).await?);
    start_with(config, stores, listener, None, options).await
}

/// The tables that the configured parts need. `None` if they need no store.
pub(crate) fn tables(config: &Config) -> Option<Tables> {
    let tables = if config.trading.enabled { Tables::All } else { Tables::OfDelivery };
    config.needs_store().then_some(tables)
}

/// Opens the store, if any part needs one. Dropping the future before it completes leaves nothing behind.
pub(crate) async fn open_store(config: &Config) -> anyhow::Result<Option<Arc<sql::Store>>> {
    let Some(tables) = tables(config) else { return Ok(None) };
    Ok(Some(Arc::new(sql::connect_to(config.database.as_str(), tables, Sharing::Alone).await?)))
}

/// Puts the parts together and serves. When it returns, everything that an earlier process left has been taken up.
///
/// `certificate` is that of the listener, if it speaks TLS. Do not drop the future before it completes: what it has taken
/// up is in memory only.
pub(crate) async fn start_with(
    config: &Config,
    stores: Stores,
    listener: impl Into<Listener> + Send,
    certificate: Option<Arc<ServerCertificate>>,
    options: Options,
) -> anyhow::Result<RunningNode> {
    let listener = listener.into();
    let address = listener.address()?;
    let metrics_endpoint = MetricsEndpoint::bind(config).await?;

    // The core, and the simulation on top.
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let backends = Backends::start(config, &clock)?;
    let outbox = ConfiguredOutbox::open(config).await?;
    let mut parts = core_parts(config, &stores, clock, &backends)?;
    let mut cluster = cluster::join(config, &parts.clock, &address.to_string()).await?;
    parts.shared = cluster.as_ref().map(ClusterNode::shared);
    parts.observers.extend(outbox.as_ref().map(ConfiguredOutbox::observer));
    let (core, wiring) = Core::new(parts)?;
    let mut simulation = match &stores.bank {
        Some(bank) if config.trading.enabled => {
            let interval = config.market.tick_interval.0;
            let shared = cluster.as_mut().map(|c| c.share_prices(bank.lease.clone(), interval));
            Some(TradingSimulation::new(config, &core, bank, shared, options)?)
        }
        _ => None,
    };
    let bus = start_bus(wiring, simulation.as_ref());
    core.measure(&bus)?;
    backends.measure(&core.metrics)?;
    if let Some(store) = stores.databases.first().cloned() {
        core.metrics.store(move || store.figures())?;
    }
    if let Some(cluster) = &cluster {
        cluster.begin(&core)?;
    }
    if let Some(certificate) = &certificate {
        certificate::follow(certificate, &core)?;
    }

    if core.delivery.standing().is_some() {
        tokio::spawn(cluster::watch(core.delivery.clone(), core.connections.clone()));
        // In a cluster this waits for the log, and users wait for that too: the node is not ready.
        let delivery = core.delivery.clone();
        tokio::spawn(async move {
            match delivery.take_up().await {
                Ok(0) => {}
                Ok(count) => tracing::info!(count, "appended what a node alone had left"),
                Err(error) => tracing::error!(%error, "what a node alone had left stays there"),
            }
        });
    }
    let read_items = read_items(config, &core, &stores)?;

    // Finish the work of an earlier process before anybody can connect.
    if let Err(error) = take_up(&core, simulation.as_mut()).await {
        // Hand back what was taken up.
        core.delivery.stop(config.server.stop_within.0).await;
        return Err(error);
    }
    if let Some(items) = read_items {
        tokio::spawn(housekeeping::forget_read_items(items, core.stopping.clone()));
    }

    // The routes, and who may use them.
    let sessions = simulation.as_ref().map(TradingSimulation::sessions);
    let authenticator = backends.authenticator(sessions);
    let routes = core
        .receiving(&page::CLIENT, authenticator)
        .merge(Routes::hidden(api::assets::router(&page::OPERATORS)))
        .merge(metrics_endpoint.routes(config, &core))
        .merge(backends.routes(
            &core,
            outbox.as_ref().map(ConfiguredOutbox::withdrawals),
            cluster.as_ref(),
        ));
    let (routes, market) = if let Some(simulation) = simulation {
        simulation.serve(config, &core, routes)
    } else {
        if !config.backends.jwt.has_keys() {
            tracing::warn!(
                "nobody can connect: there is neither a simulation nor a key for tokens"
            );
        }
        (routes.merge(Routes::hidden(api::assets::router(&[page::BARE]))), None)
    };
    let outbox = outbox.map(|outbox| backends.consume(outbox, &core)).transpose()?;
    let endpoints = routes.into_endpoints();
    let responses = endpoints.responses();
    core.metrics.responses(move || responses.all())?;
    let served = http::serve(listener, endpoints, config.http(), core.stopping.clone());
    Ok(RunningNode {
        address,
        certificate,
        stores,
        bus,
        backends,
        outbox,
        market,
        cluster,
        http: tokio::spawn(served),
        stop_within: config.server.stop_within.0,
        drain: config.server.drain.0,
        core,
    })
}

/// The parts of the core, as configured.
fn core_parts(
    config: &Config,
    stores: &Stores,
    clock: Arc<dyn Clock>,
    backends: &Backends,
) -> anyhow::Result<CoreParts> {
    Ok(CoreParts {
        clock,
        ids: Arc::new(V7Ids),
        inbox: stores.inbox.clone().filter(|_| config.inbox.enabled),
        handover: stores.handover.clone().filter(|_| config.handover.enabled),
        readiness: stores.readiness(),
        observers: backends.observers(),
        witnesses: vec![backends.witness()],
        chronicle: backends.chronicle(),
        shared: None,
        rules: config.rules()?,
        limits: config.delivery.limits(),
        connections: config.connections(),
        websocket: config.websocket(),
        allowed_origins: config.server.allowed_origins.clone(),
    })
}

/// What removes items of the inbox, if they are not kept for ever.
fn read_items(
    config: &Config,
    core: &Core,
    stores: &Stores,
) -> anyhow::Result<Option<Arc<ReadItems>>> {
    let retention = stores.retention.clone().filter(|_| config.inbox.enabled);
    let (Some(store), Some(kept)) = (retention, config.inbox.keep_read.0) else { return Ok(None) };
    let items = Arc::new(ReadItems::new(store, core.clock.clone(), kept));
    let counted = items.clone();
    core.metrics.inbox_removed(move || counted.removed())?;
    Ok(Some(items))
}

fn start_bus(wiring: bus::Wiring, simulation: Option<&TradingSimulation>) -> bus::Bus {
    let handlers = simulation.map(TradingSimulation::handlers).unwrap_or_default();
    handlers.into_iter().fold(wiring, bus::Wiring::handler).start()
}

async fn take_up(core: &Core, simulation: Option<&mut TradingSimulation>) -> anyhow::Result<()> {
    let notifications = match core.delivery.standing() {
        None => core.delivery.take_up().await?,
        Some(_) => 0,
    };
    let (rewards, open_positions) = match simulation {
        Some(simulation) => simulation.take_up().await?,
        None => (0, 0),
    };
    if notifications > 0 || rewards > 0 || open_positions > 0 {
        tracing::info!(notifications, rewards, open_positions, "took up what was left");
    }
    Ok(())
}
