use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use doorstep_domain::ports::{EventHandler, HandlerError, PriceFeed, StoreError};
use doorstep_domain::{DomainEvent, Position, PositionId, Price, Quote, Symbol, Timestamp};
use tokio::sync::mpsc;

use super::Trading;
use super::maker::SharedPrices;
use super::settling::ToSettle;
use super::trigger_index::{Crossed, TriggerIndex};
use crate::StopSignal;

/// Watches the prices, and closes each position at the price that crosses its stop-loss or take-profit, or at
/// which its loss reaches its cost.
///
/// As a handler on the bus it learns of positions opened and closed; [`take_up`](Watcher::take_up) adds earlier
/// ones. **Prices never wait for closings**: a position that a price crosses leaves the index at once, and a
/// separate task settles it.
pub struct Watcher {
    pub(super) trading: Trading,
    indexes: Mutex<HashMap<Symbol, TriggerIndex>>,
    /// Bounded by the number of open positions: an entry here has left its index.
    crossed: mpsc::UnboundedSender<ToSettle>,
    to_settle: Mutex<Option<mpsc::UnboundedReceiver<ToSettle>>>,
    /// Given when no closing may begin any more.
    pub(super) enough: StopSignal,
    /// In a cluster.
    pub(super) shared: Option<Arc<SharedPrices>>,
}

opaque!(Watcher);

/// How many open positions are taken up at a time.
const BATCH: usize = 1000;

impl Watcher {
    /// Creates a watcher that closes positions through this trading service.
    pub fn new(trading: Trading) -> Self {
        let (crossed, to_settle) = mpsc::unbounded_channel();
        let to_settle = Mutex::new(Some(to_settle));
        let enough = StopSignal::new();
        Self { trading, indexes: Mutex::default(), crossed, to_settle, enough, shared: None }
    }

    /// Other nodes trade too: this one watches positions only while it makes the prices.
    #[must_use]
    pub fn shared(self, shared: Arc<SharedPrices>) -> Self {
        Self { shared: Some(shared), ..self }
    }

    /// Takes up the positions that an earlier process left open, and returns how many. Call it before
    /// [`run`](Self::run). In a cluster it does nothing: the node that makes the prices takes up all.
    pub async fn take_up(&self) -> Result<u64, StoreError> {
        if self.shared.is_some() {
            return Ok(0);
        }
        let (mut after, mut taken_up) = (None, 0);
        loop {
            let open = self.trading.positions.all_open(after, BATCH).await?;
            let Some(last) = open.last() else { return Ok(taken_up) };
            after = Some(last.id);
            for position in open {
                taken_up += 1;
                self.watch(position);
            }
        }
    }

    /// Leaves the positions open whose closing has not begun: the next start takes them up, or in a cluster another node.
    /// [`run`](Self::run) returns once those that have begun are done. **A closing whose popup nobody takes any more must
    /// not begin**, and so a stop calls this before it stops the handlers of events.
    pub fn leave_the_rest(&self) {
        self.enough.give();
    }

    /// Follows the prices until the feed ends or `stop` is given. Returns when every crossed position is
    /// settled, or left by [`leave_the_rest`](Self::leave_the_rest).
    pub async fn run(self: Arc<Self>, mut feed: Box<dyn PriceFeed>, stop: StopSignal) {
        let to_settle = self.to_settle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(to_settle) = to_settle else { return };
        let settling = tokio::spawn(self.clone().settle_all(to_settle, stop.clone()));
        match &self.shared {
            Some(shared) => shared.run(&self, feed, &stop).await,
            None => {
                while let Some(Some(quote)) = stop.unless_given(feed.next()).await {
                    self.price(quote);
                }
            }
        }
        if let Err(error) = settling.await {
            tracing::error!(%error, "the task that settles crossed positions failed");
        }
        if let Some(shared) = &self.shared {
            shared.release(&self).await;
        }
    }

    /// Sets the current price. The cost depends on the number of positions that it crosses.
    pub fn price(&self, quote: Quote) {
        let (symbol, price) = (quote.symbol.clone(), quote.price);
        // The market first, then the time, then the index: an order that still fills at the old price read the
        // clock before this time, so when it is added, the index knows that this price came afterwards.
        self.trading.market.set(quote);
        self.cross(symbol, price);
    }

    /// Hands over what this price crosses.
    pub(super) fn cross(&self, symbol: Symbol, price: Price) {
        let at = self.trading.clock.now();
        let crossed = self.indexes().entry(symbol).or_default().price(price, at);
        for crossed in crossed {
            self.hand_over(crossed);
        }
    }

    /// How many positions it watches.
    pub fn watched(&self) -> usize {
        self.indexes().values().map(TriggerIndex::len).sum()
    }

    fn watch(&self, position: Position) {
        let opened = self.trading.clock.moment_of(position.opened_at);
        self.watch_since(position, opened);
    }

    /// Watches a position that prices since this moment of the timeline concern.
    pub(super) fn watch_since(&self, position: Position, opened: Timestamp) {
        let symbol = position.order.symbol.clone();
        let crossed = self.indexes().entry(symbol).or_default().add(position, opened);
        if let Some(crossed) = crossed {
            self.hand_over(crossed);
        }
    }

    pub(super) fn forget(&self, symbol: &Symbol, id: PositionId) {
        if let Some(index) = self.indexes().get_mut(symbol) {
            index.remove(id);
        }
    }

    fn hand_over(&self, crossed: Crossed) {
        let fence = self.fence();
        if self.shared.is_some() && fence.is_none() {
            // Another node makes the prices by now, and it closes the position when one of them crosses it.
            return;
        }
        if let Err(left) = self.crossed.send(ToSettle { crossed, fence }) {
            // Stopping: the position is still open, and the next start takes it up, or another node.
            let id = left.0.crossed.position.id;
            tracing::debug!(position = %id, "crossed during the stop; not settled");
        }
    }

    /// Watches nothing any more, and forgets the prices.
    pub(super) fn forget_all(&self) {
        self.indexes().clear();
    }

    /// Watches exactly the open positions in the store, apart from what changes while it reads them. Prices from now on
    /// concern those that it did not know.
    pub(super) async fn look_into_the_store(&self) -> Result<(), StoreError> {
        let mut known: HashSet<PositionId> =
            self.indexes().values().flat_map(TriggerIndex::ids).collect();
        let mut after = None;
        loop {
            let open = self.trading.positions.all_open(after, BATCH).await?;
            let Some(last) = open.last() else { break };
            after = Some(last.id);
            for position in open {
                if !known.remove(&position.id) {
                    let now = self.trading.clock.now();
                    self.watch_since(position, now);
                }
            }
        }
        // What is left was closed, and nobody said so.
        for index in self.indexes().values_mut() {
            for id in &known {
                index.remove(*id);
            }
        }
        Ok(())
    }

    fn indexes(&self) -> MutexGuard<'_, HashMap<Symbol, TriggerIndex>> {
        self.indexes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl EventHandler for Watcher {
    fn name(&self) -> &'static str {
        "watcher"
    }

    fn wants(&self, event: &DomainEvent) -> bool {
        matches!(event, DomainEvent::PositionOpened { .. } | DomainEvent::PositionClosed { .. })
    }

    async fn handle(&self, event: &DomainEvent) -> Result<(), HandlerError> {
        if let Some(shared) = &self.shared
            && shared.tenure.fence().is_none()
        {
            shared.tell_the_maker(&self.trading, event).await;
            return Ok(());
        }
        match event {
            DomainEvent::PositionOpened { position } => self.watch(Position::clone(position)),
            DomainEvent::PositionClosed { position, .. } => {
                self.forget(&position.order.symbol, position.id);
            }
            _ => {}
        }
        Ok(())
    }
}
