//! The trading simulation on top of the core: users with accounts, a market, rewards, and the notifications that
//! follow from all of it.

use std::sync::Arc;
use std::time::Duration;

use doorstep_adapters::api;
use doorstep_adapters::connections::Connections;
use doorstep_adapters::http::openapi::OpenApi as _;
use doorstep_adapters::market;
use doorstep_adapters::security::{Argon2Passwords, HashingLimits, RandomTokens};
use doorstep_application::accounts::AccountViews;
use doorstep_application::delivery::Delivery;
use doorstep_application::demo::Demo;
use doorstep_application::events_to_notifications::Notifier;
use doorstep_application::registration::{Registration, RegistrationParts};
use doorstep_application::rewards::{RewardParts, Rewards};
use doorstep_application::sign_ins::{SessionEnd, SignInParts, SignIns};
use doorstep_application::trading::{Market, SharedPrices, Trading, TradingParts, Watcher};
use doorstep_application::{Authenticator, StopSignal};
use doorstep_domain::ports::{Clock, EventHandler, PriceFeed};
use doorstep_domain::{TokenHash, UserId};

use super::node::RunningMarket;
use super::stores::Bank;
use super::{Core, Options, Routes};
use crate::config::{self, Config, PriceSource};
use crate::{housekeeping, page};

/// In a cluster, prices that are not older than this fill orders, however short the interval of ticks is: a machine that is
/// busy for a moment is not one without prices.
const LEAST_AGE: Duration = Duration::from_secs(1);

/// Closes the connections of an ended session, at whichever node they are.
struct EndsAtAllNodes {
    here: Arc<Connections>,
    delivery: Arc<Delivery>,
}

impl SessionEnd for EndsAtAllNodes {
    fn ended(&self, user: &UserId, session: &TokenHash) {
        self.here.ended(user, session);
        self.delivery.end_session_elsewhere(user, session);
    }
}

/// The parts of the simulation.
pub(super) struct TradingSimulation {
    prices: Box<dyn PriceFeed>,
    market: Arc<Market>,
    trading: Trading,
    watcher: Arc<Watcher>,
    rewards: Rewards,
    notifications: Option<Notifier>,
    demo: Option<Demo>,
    registration: Registration,
    sign_ins: SignIns,
    views: AccountViews,
}

impl TradingSimulation {
    pub(super) fn new(
        config: &Config,
        core: &Core,
        bank: &Bank,
        shared: Option<Arc<SharedPrices>>,
        options: Options,
    ) -> anyhow::Result<Self> {
        let Core { clock, ids, delivery, events, .. } = core;

        // Prices, and the positions that they close.
        let prices = price_feed(&config.market, clock)?;
        let mut market = Market::opening_with(prices.instruments());
        if shared.is_some() {
            market = market.in_ticks((config.market.tick_interval.0 * 3).max(LEAST_AGE));
        }
        let market = Arc::new(market);
        let trading = Trading::new(TradingParts {
            positions: bank.positions.clone(),
            market: market.clone(),
            events: events.clone(),
            clock: clock.clone(),
            ids: ids.clone(),
            max_open: config.trading.max_open_per_user,
        });

        // The handlers of events. None of them knows another.
        let watcher = Watcher::new(trading.clone());
        let watcher = Arc::new(match shared {
            Some(shared) => watcher.shared(shared),
            None => watcher,
        });
        let rewards = Rewards::new(RewardParts {
            accounts: bank.accounts.clone(),
            positions: bank.positions.clone(),
            events: events.clone(),
            clock: clock.clone(),
            ids: ids.clone(),
            rules: config.rewards.rules(),
        });
        let notifications = (!options.without_notifications).then(|| {
            Notifier::new(delivery.clone(), clock.clone(), ids.clone())
                .position_closed(config.position_closed())
        });
        let demo =
            config.has_demo().then(|| Demo::new(delivery.clone(), clock.clone(), ids.clone()));

        // What users can do.
        let passwords = Arc::new(Argon2Passwords::new(HashingLimits::default())?);
        let tokens = Arc::new(RandomTokens);
        let registration = Registration::new(RegistrationParts {
            accounts: bank.accounts.clone(),
            passwords: passwords.clone(),
            tokens: tokens.clone(),
            clock: clock.clone(),
            ids: ids.clone(),
            events: events.clone(),
            session_ttl: config.sessions.ttl.0,
        });
        let sign_ins = SignIns::new(SignInParts {
            accounts: bank.accounts.clone(),
            sessions: bank.sessions.clone(),
            passwords,
            tokens,
            clock: clock.clone(),
            session_end: Arc::new(EndsAtAllNodes {
                here: core.connections.clone(),
                delivery: delivery.clone(),
            }),
            session_ttl: config.sessions.ttl.0,
        });
        let views = AccountViews::new(bank.accounts.clone(), core.inbox.clone());
        Ok(Self {
            prices,
            market,
            trading,
            watcher,
            rewards,
            notifications,
            demo,
            registration,
            sign_ins,
            views,
        })
    }

    /// The handlers of events. The others keep working when one is left out.
    pub(super) fn handlers(&self) -> Vec<Arc<dyn EventHandler>> {
        let mut handlers: Vec<Arc<dyn EventHandler>> =
            vec![Arc::new(self.rewards.clone()), self.watcher.clone()];
        if let Some(notifications) = &self.notifications {
            handlers.push(Arc::new(notifications.clone()));
        }
        if let Some(demo) = &self.demo {
            handlers.push(Arc::new(demo.clone()));
        }
        handlers
    }

    /// Grants the rewards that an earlier process still owed, and watches the positions that it left open. Returns the
    /// number of each.
    pub(super) async fn take_up(&mut self) -> anyhow::Result<(u64, u64)> {
        Ok((self.rewards.reconcile().await?, self.watcher.take_up().await?))
    }

    /// The authenticator for session tokens.
    pub(super) fn sessions(&self) -> Arc<dyn Authenticator> {
        self.sign_ins.clone().into()
    }

    /// Starts the market and the housekeeping, and adds the routes.
    pub(super) fn serve(
        self,
        config: &Config,
        core: &Core,
        routes: Routes,
    ) -> (Routes, Option<RunningMarket>) {
        // A signal of its own, because it is given later: triggers that a price has crossed are settled at that price.
        let closing = StopSignal::new();
        let watcher = self.watcher;
        let prices = tokio::spawn(watcher.clone().run(self.prices, closing.clone()));
        let sign_ins = self.sign_ins;
        let (stopping, limits) = (&core.stopping, &config.limits);
        tokio::spawn(housekeeping::forget_dead_sessions(sign_ins.clone(), stopping.clone()));
        tokio::spawn(housekeeping::reconcile_rewards(self.rewards, stopping.clone()));

        let users = api::users::router(self.registration, limits.registration_limit());
        let sessions = api::sessions::router(sign_ins.clone(), limits.sign_in_limit());
        let accounts = api::accounts::router(self.views, sign_ins.clone());
        let trading = api::trading::router(self.trading, self.market, sign_ins.clone());
        let mut routes = routes
            .merge(Routes::hidden(api::assets::router(&page::ASSETS)))
            .merge(Routes::described(users, api::users::Description::openapi()))
            .merge(Routes::described(sessions, api::sessions::Description::openapi()))
            .merge(Routes::described(accounts, api::accounts::Description::openapi()))
            .merge(Routes::described(trading, api::trading::Description::openapi()));
        if let Some(demo) = self.demo {
            let (reach, limit) = (config.demo_reach(), limits.registration_limit());
            let demo = api::demo::router(demo, sign_ins, limit, reach);
            routes = routes.merge(Routes::described(demo, api::demo::Description::openapi()));
        }
        (routes, Some(RunningMarket { prices, closing, watcher }))
    }
}

/// The configured source of prices.
fn price_feed(
    config: &config::MarketConfig,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Box<dyn PriceFeed>> {
    Ok(match (config.source, &config.file.0) {
        (PriceSource::Replay, Some(file)) => {
            Box::new(market::Replay::open(file, config.replay_speed.get(), clock.clone())?)
        }
        _ => Box::new(market::Simulation::new(&config.simulation(), clock.clone())),
    })
}
