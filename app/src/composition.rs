//! The composition root: which adapter stands behind which port, and who hears of what. Read it from top
//! to bottom and you have seen the whole service.

mod backends;
mod bare;
mod figures;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use doorstep_adapters::api;
use doorstep_adapters::bus::Bus;
use doorstep_adapters::connections::Connections;
use doorstep_adapters::http::openapi::OpenApi as _;
use doorstep_adapters::http::{self, Address, Listener, Router};
use doorstep_adapters::market::{Replay, Simulation};
use doorstep_adapters::metrics::Metrics;
use doorstep_adapters::publish;
use doorstep_adapters::security::{Argon2Passwords, HashingLimits, RandomTokens};
use doorstep_adapters::sql::{self, Sharing, Tables};
use doorstep_adapters::sse::{self, SseParts};
use doorstep_adapters::system::{SystemClock, V7Ids};
use doorstep_adapters::websocket::{self, WebSocketParts};
use doorstep_application::Announce;
use doorstep_application::accounts::AccountViews;
use doorstep_application::delivery::Delivery;
use doorstep_application::demo::Demo;
use doorstep_application::inbox::InboxViews;
use doorstep_application::notifications::Notifications;
use doorstep_application::registration::{Registration, RegistrationParts};
use doorstep_application::rewards::{RewardParts, Rewards};
use doorstep_application::sign_ins::{SignInParts, SignIns};
use doorstep_application::trading::{Market, Trading, TradingParts, Watcher};
use doorstep_domain::ports::{Clock, Inbox, PriceFeed, StoreError};
use futures_util::future::join;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config, Source};
use crate::{housekeeping, page};

use self::backends::Backends;
use self::figures::Figures;

/// How often a stream of Server-Sent Events with nothing to say shows that it lives.
const STREAM_HEARTBEAT: Duration = Duration::from_secs(25);

/// What can be left out, because nothing else rests on it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    /// Nobody is notified of anything; users and money are as ever.
    pub(crate) without_notifications: bool,
}

/// One running service.
pub(crate) struct Node {
    address: Address,
    /// None where nothing is kept.
    store: Option<Arc<sql::Store>>,
    bus: Bus,
    connections: Arc<Connections>,
    delivery: Arc<Delivery>,
    backends: Backends,
    stopping: CancellationToken,
    /// Stops the market. Later than the rest: what a price has crossed is settled at that price.
    closing: CancellationToken,
    /// None where there is no market.
    prices: Option<JoinHandle<()>>,
    http: JoinHandle<()>,
    stop_within: Duration,
}

/// Where prices come from.
fn feed(config: &config::Market, clock: &Arc<dyn Clock>) -> anyhow::Result<Box<dyn PriceFeed>> {
    Ok(match (config.source, &config.file.0) {
        (Source::Replay, Some(file)) => {
            Box::new(Replay::open(file, config.replay_speed.get(), clock.clone())?)
        }
        _ => Box::new(Simulation::new(&config.simulation(), clock.clone())),
    })
}

impl Node {
    /// Opens the store and starts with it.
    pub(crate) async fn start(
        config: &Config,
        listener: impl Into<Listener> + Send,
        options: Options,
    ) -> anyhow::Result<Self> {
        Self::with_store(config, open_store(config).await?, listener, options).await
    }

    /// Puts the parts together and serves. When it returns, what an earlier process left is taken up.
    ///
    /// Not to be dropped half-way: what has been taken up is in memory only.
    #[expect(clippy::too_many_lines, reason = "one thing after the other, and no rule among them")]
    pub(crate) async fn with_store(
        config: &Config,
        store: Option<Arc<sql::Store>>,
        listener: impl Into<Listener> + Send,
        options: Options,
    ) -> anyhow::Result<Self> {
        let listener = listener.into();
        let store = match store {
            Some(store) if config.trading.enabled => store,
            store => return bare::start(config, store, listener).await,
        };
        let address = listener.address()?;
        let figures = Figures::bind(config).await?;
        let public_figures = figures.are_public();
        let stopping = CancellationToken::new();

        // What the machine gives.
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let ids = Arc::new(V7Ids);
        let passwords = Arc::new(Argon2Passwords::new(HashingLimits::default())?);
        let tokens = Arc::new(RandomTokens);
        let backends = Backends::start(config, clock.clone())?;

        // Live connections, and the delivery that pushes through them.
        let connections = Arc::new(Connections::new(config.connections()));
        let events = Bus::wire();
        let publisher = events.publisher();
        let metrics = Arc::new(Metrics::new()?);
        let mut delivery =
            Delivery::builder(connections.clone(), connections.clone(), clock.clone())
                .rules(config.rules()?)
                .limits(config.delivery.limits())
                .outcomes(metrics.outcomes())
                .outcomes(Arc::new(Announce::new(publisher.clone())));
        if config.inbox.enabled {
            delivery = delivery.inbox(store.clone());
        }
        if config.handover.enabled {
            delivery = delivery.handover(store.clone());
        }
        let delivery = Arc::new(backends.observe(delivery).start()?);

        // Prices, and the positions that they close.
        let prices = feed(&config.market, &clock)?;
        let market = Arc::new(Market::opening_with(prices.instruments()));
        let trading = Trading::new(TradingParts {
            positions: store.clone(),
            market: market.clone(),
            events: publisher.clone(),
            clock: clock.clone(),
            ids: ids.clone(),
            max_open: config.trading.max_open_per_user,
        });
        let watcher = Arc::new(Watcher::new(trading.clone()));

        // Who hears of what happened. None of them knows another.
        let rewards = Rewards::new(RewardParts {
            accounts: store.clone(),
            positions: store.clone(),
            events: publisher.clone(),
            clock: clock.clone(),
            ids: ids.clone(),
            rules: config.rewards.rules(),
        });
        let mut events = events.handler(Arc::new(rewards.clone())).handler(watcher.clone());
        if !options.without_notifications {
            let notifications = Notifications::new(delivery.clone(), clock.clone(), ids.clone())
                .position_closed(config.position_closed());
            events = events.handler(Arc::new(notifications));
        }
        let demo =
            config.has_demo().then(|| Demo::new(delivery.clone(), clock.clone(), ids.clone()));
        if let Some(demo) = &demo {
            events = events.handler(Arc::new(demo.clone()));
        }
        let bus = events.start();
        metrics.delivery(delivery.clone())?;
        metrics.connections(connections.clone())?;
        metrics.bus(bus.clone())?;
        backends.measure(&metrics)?;

        // What an earlier process could not finish, before anybody can connect.
        if let Err(error) = take_up(&delivery, &rewards, &watcher).await {
            // It goes back to where it was taken from.
            delivery.stop(config.server.stop_within.0).await;
            return Err(error.into());
        }
        let closing = CancellationToken::new();
        let prices = tokio::spawn(watcher.run(prices, closing.clone()));

        // What users can do.
        let registration = Registration::new(RegistrationParts {
            accounts: store.clone(),
            passwords: passwords.clone(),
            tokens: tokens.clone(),
            clock: clock.clone(),
            ids,
            events: publisher,
            session_ttl: config.sessions.ttl.0,
        });
        let sign_ins = SignIns::new(SignInParts {
            accounts: store.clone(),
            sessions: store.clone(),
            passwords,
            tokens,
            clock: clock.clone(),
            session_end: connections.clone(),
            session_ttl: config.sessions.ttl.0,
        });
        let views = AccountViews::new(
            store.clone(),
            config.inbox.enabled.then(|| store.clone() as Arc<dyn Inbox>),
        );
        let authenticator = backends.authenticator(Some(sign_ins.clone().into()));

        // How they do it.
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
        // What a front end of another origin needs, if it is allowed.
        let mut receiving = websocket::router(sockets)
            .merge(sse::router(event_streams))
            .merge(api::assets::router(&page::CLIENT));
        if config.inbox.enabled {
            let inbox = InboxViews::new(store.clone(), delivery.clone());
            receiving = receiving.merge(api::inbox::router(inbox, authenticator));
        }
        let receiving = http::for_origins(receiving, &config.server.allowed_origins);
        let mut families = Router::new()
            .merge(api::assets::router(&page::ASSETS))
            .merge(api::health::router(store.clone(), stopping.clone()))
            .merge(api::users::router(registration, config.limits.registration_limit()))
            .merge(api::sessions::router(sign_ins.clone(), config.limits.sign_in_limit()))
            .merge(api::accounts::router(views, sign_ins.clone()))
            .merge(api::trading::router(trading, market, sign_ins.clone()))
            .merge(backends.router(delivery.clone(), connections.clone(), stopping.clone()))
            .merge(figures.serve(config, metrics, &stopping))
            .merge(receiving);
        let mut descriptions = vec![
            api::health::Description::openapi(),
            api::users::Description::openapi(),
            api::sessions::Description::openapi(),
            api::accounts::Description::openapi(),
            api::trading::Description::openapi(),
            publish::Description::openapi(),
            websocket::Description::openapi(),
            sse::Description::openapi(),
        ];
        if public_figures {
            descriptions.push(api::metrics::Description::openapi());
        }
        if config.inbox.enabled {
            descriptions.push(api::inbox::Description::openapi());
        }
        if let Some(demo) = demo {
            let reach = config.demo_reach();
            let limit = config.limits.registration_limit();
            families = families.merge(api::demo::router(demo, sign_ins.clone(), limit, reach));
            descriptions.push(api::demo::Description::openapi());
        }
        let families = families.merge(http::openapi::router(descriptions));
        let settings = config.http();
        let http = tokio::spawn(http::serve(
            listener,
            http::with_shared_layers(families),
            settings,
            stopping.clone(),
        ));
        tokio::spawn(housekeeping::forget_dead_sessions(sign_ins, stopping.clone()));
        tokio::spawn(housekeeping::reconcile_rewards(rewards, stopping.clone()));

        let stop_within = config.server.stop_within.0;
        let (store, prices) = (Some(store), Some(prices));
        Ok(Self {
            address,
            store,
            bus,
            connections,
            delivery,
            backends,
            stopping,
            closing,
            prices,
            http,
            stop_within,
        })
    }

    /// Where it serves.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// How often delivery has looked whether somebody is there.
    pub(crate) fn presence_checks(&self) -> u64 {
        self.delivery.presence_checks()
    }

    /// Takes over what can be changed while serving.
    pub(crate) fn reload(&self, config: &Config) -> anyhow::Result<()> {
        self.backends.reload(config)
    }

    /// Stops without losing what waits: nobody new, the connections told to come back, the events handled,
    /// the rest handed over. Takes no longer than configured; each step leaves time for those after it.
    /// Returns how many notifications were lost, because nothing took them.
    pub(crate) async fn stop(self) -> usize {
        let begun = Instant::now();
        let share = self.stop_within / 10;
        self.stopping.cancel();
        let left = self.connections.stop(share * 2).await;
        if left > 0 {
            tracing::warn!(connections = left, "did not say goodbye in time");
        }
        if timeout_at(begun + share * 4, self.http).await.is_err() {
            tracing::warn!("requests were cut short");
        }
        self.closing.cancel();
        if let Some(prices) = self.prices
            && timeout_at(begun + share * 5, prices).await.is_err()
        {
            tracing::warn!(
                "positions that the price had crossed were left open; the next start closes them"
            );
        }
        if timeout_at(begun + share * 6, self.bus.quiet()).await.is_err() {
            tracing::warn!("events were left; the next start reconciles what follows from them");
        }
        let end = begun + self.stop_within;
        let patience = (end - share).saturating_duration_since(Instant::now());
        let stopped = self.delivery.stop(patience).await;
        // Last, for what the stop has ended is told too: as an event, and to whom the backends tell it.
        let (events, ()) = join(timeout_at(end, self.bus.stop()), self.backends.stop(share)).await;
        if events.is_err() {
            tracing::warn!("handlers were still busy");
        }
        if let Some(store) = self.store
            && timeout_at(end, store.disconnect()).await.is_err()
        {
            tracing::debug!("the store was still busy");
        }
        tracing::info!(handed_over = stopped.handed_over, took = ?begun.elapsed(), "stopped");
        stopped.dropped
    }
}

/// Opens what everything durable is kept in, if anything is. Dropping this half-way leaves nothing behind.
pub(crate) async fn open_store(config: &Config) -> anyhow::Result<Option<Arc<sql::Store>>> {
    if !config.needs_store() {
        return Ok(None);
    }
    let tables = if config.trading.enabled { Tables::All } else { Tables::OfDelivery };
    Ok(Some(Arc::new(sql::connect_to(config.database.as_str(), tables, Sharing::Alone).await?)))
}

async fn take_up(
    delivery: &Delivery,
    rewards: &Rewards,
    watcher: &Watcher,
) -> Result<(), StoreError> {
    let notifications = delivery.take_up().await?;
    let rewards = rewards.reconcile().await?;
    let open_positions = watcher.take_up().await?;
    if notifications > 0 || rewards > 0 || open_positions > 0 {
        tracing::info!(notifications, rewards, open_positions, "took up what was left");
    }
    Ok(())
}
