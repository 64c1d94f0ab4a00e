//! Trading: users open and close positions at the current price, and prices close the positions whose triggers
//! they cross.
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | the use cases: opening, closing and listing positions |
//! | `market` | the current prices |
//! | `trigger_index` | the triggers of one instrument, ordered by price; pure |
//! | `watcher` | takes one price after the other, and hands over the positions that each crosses |
//! | `settling` | closes these positions, many in one transaction |
//! | `maker` | in a cluster: one node makes the prices and watches all positions; the others hear of both |
//! | `tenure` | whether this node is that one |
//! | `note` | what it leaves for the next one |
//!
//! It knows neither rewards nor notifications: it raises `PositionOpened` and `PositionClosed`, and does not know
//! the handlers of these events.

mod maker;
mod market;
mod note;
mod settling;
mod tenure;
mod trigger_index;
mod watcher;

use std::num::NonZeroUsize;
use std::sync::Arc;

use doorstep_domain::ports::{
    Clock, Close, Closing, EventPublisher, HeldLease, IdempotencyKey, Ids, Open, OpenError,
    Opening, Positions, Status, StoreError,
};
use doorstep_domain::{
    CloseReason, DomainEvent, EntryId, Order, OrderFault, Position, PositionId, Price, UserId,
};

use self::trigger_index::Crossed;
pub use maker::SharedPrices;
pub use market::Market;
pub use trigger_index::TriggerIndex;
pub use watcher::Watcher;

/// Opens, closes and shows positions.
#[derive(Clone)]
pub struct Trading {
    positions: Arc<dyn Positions>,
    market: Arc<Market>,
    events: Arc<dyn EventPublisher>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    max_open: NonZeroUsize,
}

opaque!(Trading);

/// The parts of [`Trading`].
#[derive(Clone)]
pub struct TradingParts {
    /// Stores and settles positions.
    pub positions: Arc<dyn Positions>,
    /// The current prices.
    pub market: Arc<Market>,
    /// Takes the events.
    pub events: Arc<dyn EventPublisher>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Makes the ids of positions and ledger entries.
    pub ids: Arc<dyn Ids>,
    /// How many positions a user may have open.
    pub max_open: NonZeroUsize,
}

opaque!(TradingParts);

/// Why an order was not filled. Nothing changed, except perhaps after a store error.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// There is no instrument with this symbol.
    #[error("there is no instrument with this symbol")]
    UnknownSymbol,
    /// The order is invalid at the current price.
    #[error(transparent)]
    Fault(#[from] OrderFault),
    /// The cost is more than the balance.
    #[error("the balance does not cover the cost")]
    NotEnough,
    /// The user has the maximum number of open positions.
    #[error("the user has the maximum number of open positions")]
    TooMany,
    /// No node of the cluster makes prices now. Try again soon.
    #[error("the last price is too old to fill an order; try again soon")]
    OldPrice,
    /// The idempotency key was used for another order.
    #[error("the idempotency key was used for another order")]
    KeyReused,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<OpenError> for OrderError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::NotEnough => Self::NotEnough,
            OpenError::TooMany => Self::TooMany,
            OpenError::Store(error) => Self::Store(error),
        }
    }
}

/// Why a position was not closed. Nothing changed, except perhaps after a store error.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// This user has no such position.
    #[error("there is no such position")]
    NoSuchPosition,
    /// It is closed already, by the user or by the price.
    #[error("the position is closed already")]
    AlreadyClosed,
    /// Its instrument has no price.
    #[error("the instrument has no price now")]
    NotTraded,
    /// No node of the cluster makes prices now. Try again soon.
    #[error("the last price is too old to close a position; try again soon")]
    OldPrice,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A page of a user's positions, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PositionPage {
    /// The positions.
    pub positions: Vec<Position>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<PositionId>,
}

impl Trading {
    /// The largest number of positions per page.
    pub const MAX_PAGE: usize = 100;
    /// The default for [`TradingParts::max_open`].
    pub const MAX_OPEN: NonZeroUsize = NonZeroUsize::new(1000).unwrap();

    /// Builds it from its parts.
    pub fn new(parts: TradingParts) -> Self {
        let TradingParts { positions, market, events, clock, ids, max_open } = parts;
        Self { positions, market, events, clock, ids, max_open }
    }

    /// Fills an order at the current price.
    ///
    /// If this user sent the same order with this key before (within [`IdempotencyKey::KEPT`]), returns the result
    /// of that order and changes nothing. An order that was not filled leaves its key unused. Dropping the future
    /// after the commit has begun changes nothing.
    pub async fn open(
        &self,
        user: UserId,
        order: Order,
        key: Option<IdempotencyKey>,
    ) -> Result<Position, OrderError> {
        // The time is read before the price: every price from this time on concerns the position.
        let now = self.clock.wall();
        if let Some(key) = &key
            && let Some(before) = self.positions.opened_with(&user, key, now).await?
        {
            return as_before(before, &order);
        }
        let quote = self.market.quote(&order.symbol).ok_or(OrderError::UnknownSymbol)?;
        // After the price: it was current when it was read.
        if !self.market.is_current(self.clock.now()) {
            return Err(OrderError::OldPrice);
        }
        let id = PositionId::new(self.ids.next());
        let position = Position::open(id, user, order, quote.price, now)?;
        let entry = EntryId::new(self.ids.next());
        let opening = Opening { position, entry, key, max_open: self.max_open };
        let trading = self.clone();
        in_one_piece(async move {
            match trading.positions.open(&opening).await? {
                Open::Before(before) => as_before(*before, &opening.position.order),
                Open::Opened => {
                    let position = opening.position;
                    let event =
                        DomainEvent::PositionOpened { position: Box::new(position.clone()) };
                    trading.announce(event).await;
                    Ok(position)
                }
            }
        })
        .await
    }

    /// Closes a user's position at the current price.
    ///
    /// Dropping the future after the commit has begun changes nothing.
    pub async fn close(&self, user: &UserId, id: PositionId) -> Result<Position, CloseError> {
        let position = self.positions.find(user, id).await?.ok_or(CloseError::NoSuchPosition)?;
        if position.closed.is_some() {
            return Err(CloseError::AlreadyClosed);
        }
        let quote = self.market.quote(&position.order.symbol).ok_or(CloseError::NotTraded)?;
        if !self.market.is_current(self.clock.now()) {
            return Err(CloseError::OldPrice);
        }
        let trading = self.clone();
        in_one_piece(async move {
            let settled = trading.settle(position, quote.price, CloseReason::User).await?;
            settled.ok_or(CloseError::AlreadyClosed)
        })
        .await
    }

    /// Returns the user's positions before `before`, newest first: at most `limit`, and never more than
    /// [`Trading::MAX_PAGE`].
    pub async fn page(
        &self,
        user: &UserId,
        status: Option<Status>,
        before: Option<PositionId>,
        limit: usize,
    ) -> Result<PositionPage, StoreError> {
        let limit = limit.clamp(1, Self::MAX_PAGE);
        // One extra position tells whether there is a next page.
        let mut positions = self.positions.page(user, status, before, limit + 1).await?;
        let more = positions.len() > limit;
        positions.truncate(limit);
        let next = more.then(|| positions.last().map(|position| position.id)).flatten();
        Ok(PositionPage { positions, next })
    }

    /// Closes an open position at this price and publishes the event. Returns `None` if it was closed already.
    async fn settle(
        &self,
        open: Position,
        price: Price,
        reason: CloseReason,
    ) -> Result<Option<Position>, StoreError> {
        let closed = open.closed_at(price, reason, self.clock.wall());
        let close = self.positions.close(&closed, EntryId::new(self.ids.next())).await?;
        let Close::Closed(number) = close else { return Ok(None) };
        let position = Box::new(closed.clone());
        self.announce(DomainEvent::PositionClosed { position, number }).await;
        Ok(Some(closed))
    }

    /// Closes positions that prices have crossed, in one transaction, and publishes the events; with a lease, only under it.
    /// Those that are closed already stay as they are.
    async fn settle_all(
        &self,
        crossed: &[Crossed],
        lease: Option<HeldLease>,
    ) -> Result<(), StoreError> {
        let now = self.clock.wall();
        let closing = |Crossed { position, price, reason }: &Crossed| Closing {
            position: position.clone().closed_at(*price, *reason, now),
            entry: EntryId::new(self.ids.next()),
        };
        let closings: Vec<_> = crossed.iter().map(closing).collect();
        let closes = self.positions.close_all(&closings, lease).await?;
        for (Closing { position, .. }, close) in closings.into_iter().zip(closes) {
            if let Close::Closed(number) = close {
                let position = Box::new(position);
                self.announce(DomainEvent::PositionClosed { position, number }).await;
            }
        }
        Ok(())
    }

    async fn announce(&self, event: DomainEvent) {
        let name = event.name();
        if let Err(error) = self.events.publish(event).await {
            // The trade is in the database, so this is a success; the next start reconciles the rewards.
            tracing::warn!(event = name, %error, "could not publish the event of a trade");
        }
    }
}

/// The result for an order whose key was used before: the position as it was opened then.
fn as_before(before: Position, order: &Order) -> Result<Position, OrderError> {
    if before.order == *order {
        Ok(Position { closed: None, ..before })
    } else {
        Err(OrderError::KeyReused)
    }
}

/// Runs the work in a task of its own, so that it does not end between the commit and the event when a client
/// hangs up and drops the request's future.
async fn in_one_piece<T, E>(
    work: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(join) => Err(StoreError::Unavailable(Box::new(join)).into()),
    }
}

#[cfg(test)]
mod tests;
