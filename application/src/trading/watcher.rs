use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use doorstep_domain::ports::{EventHandler, HandlerError, PriceFeed, StoreError};
use doorstep_domain::{DomainEvent, Position, PositionId, Quote, Symbol};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::TaskTracker;

use super::Trading;
use super::trigger_index::{Crossed, TriggerIndex};
use crate::StopSignal;

/// Watches the prices, and closes each position at the price that crosses its stop-loss or take-profit, or at
/// which its loss reaches its cost.
///
/// As a handler on the bus it learns of positions opened and closed; [`take_up`](Watcher::take_up) adds earlier
/// ones. **Prices never wait for closings**: a position that a price crosses leaves the index at once, and a
/// separate task settles it.
pub struct Watcher {
    trading: Trading,
    indexes: Mutex<HashMap<Symbol, TriggerIndex>>,
    /// Bounded by the number of open positions: an entry here has left its index.
    crossed: mpsc::UnboundedSender<Crossed>,
    to_settle: Mutex<Option<mpsc::UnboundedReceiver<Crossed>>>,
    /// Given when no closing may begin any more.
    enough: StopSignal,
}

opaque!(Watcher);

/// How many closings run concurrently.
const AT_ONCE: u32 = 8;
/// The pause before a closing is repeated while the store is unavailable.
const RETRY: Duration = Duration::from_millis(500);
/// How many open positions are taken up at a time.
const BATCH: usize = 1000;

impl Watcher {
    /// Creates a watcher that closes positions through this trading service.
    pub fn new(trading: Trading) -> Self {
        let (crossed, to_settle) = mpsc::unbounded_channel();
        let to_settle = Mutex::new(Some(to_settle));
        let enough = StopSignal::new();
        Self { trading, indexes: Mutex::default(), crossed, to_settle, enough }
    }

    /// Takes up the positions that an earlier process left open, and returns how many. Call it before
    /// [`run`](Self::run).
    pub async fn take_up(&self) -> Result<u64, StoreError> {
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

    /// Leaves the positions open whose closing has not begun; the next start takes them up. [`run`](Self::run) returns once
    /// those that have begun are done. **A closing whose popup nobody takes any more must not begin**, and so a stop
    /// calls this before it stops the handlers of events.
    pub fn leave_the_rest(&self) {
        self.enough.give();
    }

    /// Follows the prices until the feed ends or `stop` is given. Returns when every crossed position is
    /// settled, or left by [`leave_the_rest`](Self::leave_the_rest).
    pub async fn run(self: Arc<Self>, mut feed: Box<dyn PriceFeed>, stop: StopSignal) {
        let to_settle = self.to_settle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(to_settle) = to_settle else { return };
        let settling = tokio::spawn(self.clone().settle_all(to_settle, stop.clone()));
        while let Some(Some(quote)) = stop.unless_given(feed.next()).await {
            self.price(quote);
        }
        if let Err(error) = settling.await {
            tracing::error!(%error, "the task that settles crossed positions failed");
        }
    }

    /// Sets the current price. The cost depends on the number of positions that it crosses.
    pub fn price(&self, quote: Quote) {
        let (symbol, price) = (quote.symbol.clone(), quote.price);
        // The market first, then the time, then the index: an order that still fills at the old price read the
        // clock before this time, so when it is added, the index knows that this price came afterwards.
        self.trading.market.set(quote);
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
        let (symbol, opened) = (position.order.symbol.clone(), position.opened_at);
        let opened = self.trading.clock.moment_of(opened);
        let crossed = self.indexes().entry(symbol).or_default().add(position, opened);
        if let Some(crossed) = crossed {
            self.hand_over(crossed);
        }
    }

    fn forget(&self, symbol: &Symbol, id: PositionId) {
        if let Some(index) = self.indexes().get_mut(symbol) {
            index.remove(id);
        }
    }

    fn hand_over(&self, crossed: Crossed) {
        if let Err(crossed) = self.crossed.send(crossed) {
            // Stopping: the position is still open, and the next start takes it up.
            tracing::debug!(position = %crossed.0.position.id, "crossed during the stop; not settled");
        }
    }

    async fn settle_all(
        self: Arc<Self>,
        mut to_settle: mpsc::UnboundedReceiver<Crossed>,
        stop: StopSignal,
    ) {
        let (tasks, places) = (TaskTracker::new(), Arc::new(Semaphore::new(AT_ONCE as usize)));
        loop {
            let crossed = tokio::select! {
                biased;
                () = self.enough.given() => break,
                crossed = to_settle.recv() => crossed,
                () = stop.given(), if !to_settle.is_closed() => {
                    // Positions crossed before the stop are settled at the price that crossed them.
                    to_settle.close();
                    continue;
                }
            };
            let Some(crossed) = crossed else { break };
            let Ok(place) = places.clone().acquire_owned().await else { break };
            if self.enough.is_given() {
                break;
            }
            let (trading, stop) = (self.trading.clone(), stop.clone());
            tasks.spawn(async move {
                settle(&trading, crossed, &stop).await;
                drop(place);
            });
        }
        if self.enough.is_given() {
            let left = to_settle.len();
            tracing::warn!(
                left,
                "positions that the price had crossed stay open; the next start closes them"
            );
        }
        tasks.close();
        tasks.wait().await;
    }

    fn indexes(&self) -> MutexGuard<'_, HashMap<Symbol, TriggerIndex>> {
        self.indexes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Settles a position; retries until the store answers or `stop` is given.
async fn settle(trading: &Trading, crossed: Crossed, stop: &StopSignal) {
    let Crossed { position, price, reason } = crossed;
    let id = position.id;
    loop {
        match trading.settle(position.clone(), price, reason).await {
            // Closed here, or by its user a moment before.
            Ok(_) => return,
            Err(error @ StoreError::Unavailable(_)) => {
                tracing::warn!(position = %id, %error, "could not close a position; trying again");
                let wait = tokio::time::sleep(RETRY);
                if stop.unless_given(wait).await.is_none() {
                    return;
                }
            }
            Err(error) => {
                tracing::error!(position = %id, %error, "could not close a position at the price that crossed it");
                return;
            }
        }
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
