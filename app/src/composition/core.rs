//! The core: what every node has, with or without the simulation.

use std::sync::Arc;
use std::time::Duration;

use doorstep_adapters::api::health::HealthProbes;
use doorstep_adapters::api::{self, assets::Asset};
use doorstep_adapters::bus::{Bus, Wiring};
use doorstep_adapters::connections::{self, Connections};
use doorstep_adapters::http::openapi::OpenApi as _;
use doorstep_adapters::http::{self, AllowedOrigins};
use doorstep_adapters::metrics::{Metrics, MetricsError};
use doorstep_adapters::sse::{self, SseParts};
use doorstep_adapters::websocket::{self, WebSocketParts};
use doorstep_application::delivery::{Builder, Delivery, Limits, Rules, SharedLog};
use doorstep_application::inbox::InboxViews;
use doorstep_application::{Authenticator, OutcomeAnnouncer, StopSignal};
use doorstep_domain::ports::{
    Chronicle, Clock, ConnectionControl, EventPublisher, Handover, Ids, Inbox, Outcomes, Readiness,
};
use tokio_util::sync::CancellationToken;

use super::Routes;
use super::cluster::NodeReadiness;

/// How often an idle stream of Server-Sent Events sends a heartbeat.
const STREAM_HEARTBEAT: Duration = Duration::from_secs(25);

/// The parts of a [`Core`].
pub struct CoreParts {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Makes ids.
    pub ids: Arc<dyn Ids>,
    /// The store of the inbox, if there is one.
    pub inbox: Option<Arc<dyn Inbox>>,
    /// Where a stopping node leaves its waiting notifications, if it does.
    pub handover: Option<Arc<dyn Handover>>,
    /// Reports whether this node can serve.
    pub readiness: Arc<dyn Readiness>,
    /// Observers of outcomes, in addition to those of the core.
    pub observers: Vec<Arc<dyn Outcomes>>,
    /// Is told each step of what happens to notifications, if that is remembered.
    pub chronicle: Option<Arc<dyn Chronicle>>,
    /// They learn every outcome, whichever node of a cluster tells it.
    pub witnesses: Vec<Arc<dyn Outcomes>>,
    /// What this node shares with the others of its cluster, if there is one. The core closes connections of users whom
    /// another node was asked to disconnect.
    pub shared: Option<SharedLog>,
    /// The delivery rule of each kind.
    pub rules: Rules,
    /// How much may wait on this node.
    pub limits: Limits,
    /// The limits on live connections.
    pub connections: connections::ConnectionSettings,
    /// Settings of WebSocket connections.
    pub websocket: websocket::WebSocketSettings,
    /// The origins whose web pages may receive notifications here.
    pub allowed_origins: AllowedOrigins,
}

/// What every node has: live connections, the delivery that pushes through them, the event bus, metrics, and the
/// routes on which clients receive.
pub struct Core {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Makes ids.
    pub ids: Arc<dyn Ids>,
    /// The registry of live connections.
    pub connections: Arc<Connections>,
    /// Delivers notifications to them.
    pub delivery: Arc<Delivery>,
    /// Publishes domain events.
    pub events: Arc<dyn EventPublisher>,
    /// The counters of the node.
    pub metrics: Arc<Metrics>,
    /// Cancelled when the node begins to stop.
    pub stopping: CancellationToken,
    /// Given when `stopping` is cancelled: the same for the use cases.
    pub stop: StopSignal,
    /// The store of the inbox, if there is one.
    pub inbox: Option<Arc<dyn Inbox>>,
    probes: HealthProbes,
    websocket: Arc<websocket::WebSocketSettings>,
    allowed_origins: AllowedOrigins,
}

impl Core {
    /// Puts the core together. The second value takes the handlers of events, and starts the bus.
    pub fn new(parts: CoreParts) -> anyhow::Result<(Self, Wiring)> {
        let CoreParts { clock, ids, inbox, handover, .. } = parts;
        let connections = Connections::new(parts.connections);
        let connections = Arc::new(connections.with_chronicle(parts.chronicle.clone()));
        let wiring = Bus::wire();
        let events = wiring.publisher();
        let metrics = Arc::new(Metrics::new()?);
        let mut delivery =
            Delivery::builder(connections.clone(), connections.clone(), clock.clone())
                .rules(parts.rules)
                .kinds(metrics.kinds())
                .limits(parts.limits);
        if let Some(inbox) = &inbox {
            delivery = delivery.inbox(inbox.clone());
        }
        if let Some(handover) = handover {
            delivery = delivery.handover(handover);
        }
        if let Some(chronicle) = parts.chronicle {
            delivery = delivery.chronicle(chronicle);
        }
        if let Some(shared) = parts.shared {
            let control = Some(connections.clone() as Arc<dyn ConnectionControl>);
            delivery = delivery.shared(SharedLog { control, ..shared });
        }
        delivery = parts.witnesses.into_iter().fold(delivery, Builder::witness);
        // No observer waits for another. Only `OutcomeAnnouncer` is ever behind, when a queue of the bus is full.
        let observers = [metrics.outcomes()].into_iter().chain(parts.observers);
        let observers =
            observers.chain([Arc::new(OutcomeAnnouncer::new(events.clone())) as Arc<_>]);
        let delivery = observers.fold(delivery, Builder::outcomes);
        let delivery = Arc::new(delivery.start()?);
        let (stopping, stop) = (CancellationToken::new(), StopSignal::new());
        let (begun, give) = (stopping.clone(), stop.clone());
        tokio::spawn(async move {
            begun.cancelled().await;
            give.give();
        });
        let readiness =
            Arc::new(NodeReadiness { store: parts.readiness, delivery: delivery.clone() });
        let core = Self {
            delivery,
            probes: HealthProbes::new(readiness, stopping.clone()),
            stopping,
            stop,
            websocket: Arc::new(parts.websocket),
            allowed_origins: parts.allowed_origins,
            clock,
            ids,
            connections,
            events,
            metrics,
            inbox,
        };
        Ok((core, wiring))
    }

    /// Adds the counters of the parts to the metrics.
    pub fn measure(&self, bus: &Bus) -> Result<(), MetricsError> {
        self.metrics.delivery(&self.delivery)?;
        self.metrics.connections(self.connections.clone())?;
        let probes = self.probes.clone();
        self.metrics.readiness(move || probes.was_ready())?;
        self.metrics.bus(bus.clone())
    }

    /// The route of `/metrics`.
    pub fn metrics_router(&self) -> http::Router {
        api::metrics::router(self.metrics.clone(), self.probes.clone())
    }

    /// The route of `/v1/metrics`, which needs a check of service keys around it.
    pub(super) fn operator_metrics(&self) -> Routes {
        let router = api::metrics::router_for_operators(self.metrics.clone(), self.probes.clone());
        Routes::described(router, api::metrics::DescriptionForOperators::openapi())
    }

    /// The health probes, and all routes on which a client receives: WebSocket, event streams, inbox, and the JavaScript
    /// client. Pages of allowed origins may use all but the probes.
    pub fn receiving(&self, client: &[Asset], authenticator: Arc<dyn Authenticator>) -> Routes {
        let sockets = websocket::router(WebSocketParts {
            connections: self.connections.clone(),
            settings: self.websocket.clone(),
            delivery: self.delivery.clone(),
            authenticator: authenticator.clone(),
            clock: self.clock.clone(),
        });
        let streams = sse::router(SseParts {
            connections: self.connections.clone(),
            heartbeat: STREAM_HEARTBEAT,
            delivery: self.delivery.clone(),
            authenticator: authenticator.clone(),
            clock: self.clock.clone(),
        });
        let mut receiving = Routes::described(sockets, websocket::Description::openapi())
            .merge(Routes::described(streams, sse::Description::openapi()))
            .merge(Routes::hidden(api::assets::router(client)));
        if let Some(inbox) = &self.inbox {
            let views = InboxViews::new(inbox.clone(), self.delivery.clone());
            let inbox = api::inbox::router(views, authenticator);
            receiving =
                receiving.merge(Routes::described(inbox, api::inbox::Description::openapi()));
        }
        let health = api::health::router(self.probes.clone());
        let health = Routes::described(health, api::health::Description::openapi());
        health.merge(receiving.map(|router| http::for_origins(router, &self.allowed_origins)))
    }
}
