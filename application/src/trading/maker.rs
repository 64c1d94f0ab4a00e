//! In a cluster one node makes the prices and closes what they cross: the holder of a lease. It tells the others each
//! tick; they tell it of positions that are opened and closed there. What is lost on the way, it finds in the store.

use std::sync::Arc;
use std::time::Duration;

use doorstep_domain::ports::{Lease, MarketLine, MarketNews, PriceFeed, TakenLease, Tick};
use doorstep_domain::{DomainEvent, Quote};
use futures_util::FutureExt as _;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::tenure::Tenure;
use super::{Trading, Watcher, note};
use crate::StopSignal;

/// The name of the lease.
pub(super) const LEASE: &str = "prices";
/// How long the lease lasts after it was taken or renewed.
const LASTS: Duration = Duration::from_secs(5);
/// How often it is renewed.
const RENEWED: Duration = Duration::from_secs(2);
/// How often a node that does not hold it tries to take it.
const TRIED: Duration = Duration::from_millis(500);
/// How often the holder looks into the store for positions of which it was told nothing.
const LOOKED: Duration = Duration::from_secs(4);
/// How many prices one tick has at most: a feed that is behind gives many at once.
const TOGETHER: usize = 256;

/// What the nodes of a cluster share about prices.
pub struct SharedPrices {
    lease: Arc<dyn Lease>,
    line: Arc<dyn MarketLine>,
    /// Who holds the lease, for people who read the row.
    holder: String,
    /// The longest time between two ticks.
    interval: Duration,
    pub(super) tenure: Tenure,
}

opaque!(SharedPrices);

impl SharedPrices {
    /// Shares prices with the nodes that have the same lease and hear each other on this line. The holder of the lease
    /// ticks at least this often.
    pub fn new(
        lease: Arc<dyn Lease>,
        line: Arc<dyn MarketLine>,
        holder: String,
        interval: Duration,
    ) -> Self {
        let interval = interval.max(Duration::from_millis(1));
        Self { lease, line, holder, interval, tenure: Tenure::default() }
    }

    /// Whether this node makes the prices now.
    pub fn makes_prices(&self) -> bool {
        self.tenure.fence().is_some()
    }

    /// Makes the prices whenever no other node does, and hears the others, until `stop` is given.
    pub(super) async fn run(
        self: &Arc<Self>,
        watcher: &Arc<Watcher>,
        mut feed: Box<dyn PriceFeed>,
        stop: &StopSignal,
    ) {
        let (this, hears, over) = (self.clone(), watcher.clone(), stop.clone());
        let hearing = tokio::spawn(async move {
            while let Some(news) = over.unless_given(this.line.hear()).await {
                this.heard(&hears, news).await;
            }
        });
        loop {
            let asked = Instant::now();
            match self.lease.take(LEASE, &self.holder, LASTS).await {
                Ok(Some(taken)) => self.make(watcher, &mut *feed, taken, asked, stop).await,
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "could not ask who makes the prices"),
            }
            if stop.unless_given(sleep(TRIED)).await.is_none() {
                break;
            }
        }
        // It ends with the signal too.
        hearing.await.ok();
    }

    /// Makes prices until the lease is lost or `stop` is given.
    async fn make(
        self: &Arc<Self>,
        watcher: &Arc<Watcher>,
        feed: &mut dyn PriceFeed,
        taken: TakenLease,
        asked: Instant,
        stop: &StopSignal,
    ) {
        let TakenLease { fence, note } = taken;
        let market = watcher.trading.market.clone();
        if let Some(noted) = note::read(&note, fence) {
            market.remember(&noted);
        }
        if let Some(last) = market.last_tick() {
            feed.go_on_from(last.place, &market.quotes());
        }
        watcher.forget_all();
        self.tenure.held(fence, asked, LASTS);
        tracing::info!(fence = fence.0, "this node makes the prices now");
        let keeping = {
            let (this, watcher) = (self.clone(), watcher.clone());
            tokio::spawn(async move { this.keep(&watcher).await })
        };
        let looking = {
            let (this, watcher) = (self.clone(), watcher.clone());
            tokio::spawn(async move { this.look(&watcher).await })
        };
        let mut number = market.last_tick().map_or(0, |last| last.number);
        let mut beat = interval(self.interval);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut ended, mut given) = (false, false);
        loop {
            let mut quotes = Vec::new();
            tokio::select! {
                biased;
                () = stop.given() => {
                    given = true;
                    break;
                }
                quote = feed.next(), if !ended => match quote {
                    Some(quote) => quotes.push(quote),
                    None => ended = true,
                },
                // Nothing new, and this node is still there.
                _ = beat.tick() => {}
            }
            beat.reset();
            while !ended && quotes.len() < TOGETHER && !quotes.is_empty() {
                match feed.next().now_or_never() {
                    Some(Some(quote)) => quotes.push(quote),
                    Some(None) => ended = true,
                    None => break,
                }
            }
            // A node that was held up for long is not the maker any more, and must not give a price.
            if self.tenure.fence() != Some(fence) {
                break;
            }
            number += 1;
            let at = watcher.trading.clock.wall();
            let tick = Tick { fence, number, place: feed.place(), at, quotes };
            if !market.tick(&tick, watcher.trading.clock.now()) {
                // Another node has a later lease.
                break;
            }
            self.line.tell(MarketNews::Tick(tick.clone())).await;
            for Quote { symbol, price, .. } in tick.quotes {
                watcher.cross(symbol, price);
            }
        }
        for task in [keeping, looking] {
            task.abort();
            task.await.ok();
        }
        watcher.forget_all();
        if !given {
            tracing::warn!(fence = fence.0, "this node makes the prices no longer");
            self.tenure.over();
        }
    }

    /// Gives the lease back, if this node holds it: what its prices have crossed is settled.
    pub(super) async fn release(&self, watcher: &Watcher) {
        if let (Some(fence), Some(text)) = (self.tenure.fence(), noted(watcher)) {
            self.tenure.over();
            if let Err(error) = self.lease.release(LEASE, fence, &text).await {
                tracing::debug!(%error, "the lease of who makes the prices ends by itself");
            }
        }
    }

    /// Renews the lease until it is lost.
    async fn keep(&self, watcher: &Watcher) {
        let mut turns = interval(RENEWED);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        turns.tick().await;
        loop {
            turns.tick().await;
            let Some(fence) = self.tenure.fence() else { return };
            let Some(text) = noted(watcher) else { continue };
            let asked = Instant::now();
            match self.lease.renew(LEASE, fence, &text, LASTS).await {
                Ok(true) => self.tenure.held(fence, asked, LASTS),
                Ok(false) => return self.tenure.over(),
                Err(error) => {
                    tracing::warn!(%error, "could not renew the lease of who makes the prices");
                }
            }
        }
    }

    /// Takes up all open positions at once, and later those of which nobody told.
    async fn look(&self, watcher: &Watcher) {
        loop {
            if self.tenure.fence().is_none() {
                return;
            }
            let again = match watcher.look_into_the_store().await {
                Ok(()) => LOOKED,
                Err(error) => {
                    tracing::warn!(%error, "could not look for open positions");
                    TRIED
                }
            };
            sleep(again).await;
        }
    }

    async fn heard(&self, watcher: &Watcher, news: MarketNews) {
        let trading = &watcher.trading;
        match news {
            MarketNews::Tick(tick) => {
                trading.market.tick(&tick, trading.clock.now());
            }
            MarketNews::Opened { user, id, since } => {
                if self.makes_prices()
                    && let Ok(Some(position)) = trading.positions.find(&user, id).await
                    && position.closed.is_none()
                {
                    watcher.watch_since(position, trading.clock.moment_of(since));
                }
            }
            MarketNews::Closed { symbol, id } => watcher.forget(&symbol, id),
        }
    }

    /// Tells the node that makes the prices what has happened to a position here.
    pub(super) async fn tell_the_maker(&self, trading: &Trading, event: &DomainEvent) {
        let news = match event {
            DomainEvent::PositionOpened { position } => {
                let opened = trading.clock.moment_of(position.opened_at);
                MarketNews::Opened {
                    user: position.user_id.clone(),
                    id: position.id,
                    since: trading.market.at_maker(opened),
                }
            }
            DomainEvent::PositionClosed { position, .. } => {
                MarketNews::Closed { symbol: position.order.symbol.clone(), id: position.id }
            }
            _ => return,
        };
        self.line.tell(news).await;
    }
}

/// The last tick, for the next holder.
fn noted(watcher: &Watcher) -> Option<String> {
    let market = &watcher.trading.market;
    let last = market.last_tick()?;
    let (fence, number, place, at) = (last.fence, last.number, last.place, last.at);
    Some(note::write(&Tick { fence, number, place, at, quotes: market.quotes() }))
}
