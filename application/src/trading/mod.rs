//! Trading: users open and close positions at the price of the moment, and prices close what they cross.
//!
//! | file | what |
//! | --- | --- |
//! | `mod` | opening, closing, looking: the use cases |
//! | `market` | what everything costs now |
//! | `book` | the triggers of one instrument, ordered by price; pure |
//! | `watcher` | takes one price after the other, and closes what each crosses |
//!
//! It knows neither rewards nor notifications: it raises `PositionOpened` and `PositionClosed`, and who hears
//! of them is no business of it.

mod market;
mod trigger_index;
mod watcher;

use std::num::NonZeroUsize;
use std::sync::Arc;

use doorstep_domain::ports::{
    Clock, Close, EventPublisher, IdempotencyKey, Ids, Open, OpenError, Opening, Positions, Status,
    StoreError,
};
use doorstep_domain::{
    CloseReason, DomainEvent, EntryId, Order, OrderFault, Position, PositionId, Price, UserId,
};

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

/// What trading is built from.
#[derive(Clone)]
pub struct TradingParts {
    /// Where positions are kept and settled.
    pub positions: Arc<dyn Positions>,
    /// At which prices.
    pub market: Arc<Market>,
    /// Hears of what was opened and closed.
    pub events: Arc<dyn EventPublisher>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Names positions and ledger entries.
    pub ids: Arc<dyn Ids>,
    /// How many positions a user may have open.
    pub max_open: NonZeroUsize,
}

/// Why an order was not filled. Nothing changed, unless the store says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// Nothing of that name is traded.
    #[error("there is no instrument of this name")]
    UnknownSymbol,
    /// It makes no position at the price of the moment.
    #[error(transparent)]
    Fault(#[from] OrderFault),
    /// The cost is more than the balance.
    #[error("the balance does not cover the cost")]
    NotEnough,
    /// The user has as many open positions as they may.
    #[error("there are as many open positions as there may be")]
    TooMany,
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

/// Why a position was not closed. Nothing changed, unless the store says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// This user has no such position.
    #[error("there is no such position")]
    NoSuchPosition,
    /// It is closed: by this user, or by the price.
    #[error("the position is closed already")]
    AlreadyClosed,
    /// Its instrument has no price now.
    #[error("its instrument is not traded at the moment")]
    NotTraded,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A stretch of a user's positions, opened last first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PositionPage {
    /// The positions.
    pub positions: Vec<Position>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<PositionId>,
}

impl Trading {
    /// The most positions that a page has.
    pub const MAX_PAGE: usize = 100;
    /// How many positions a user may have open, unless set otherwise.
    pub const MAX_OPEN: NonZeroUsize = NonZeroUsize::new(1000).unwrap();

    /// Puts the parts together.
    pub fn new(parts: TradingParts) -> Self {
        let TradingParts { positions, market, events, clock, ids, max_open } = parts;
        Self { positions, market, events, clock, ids, max_open }
    }

    /// Fills an order at the price of the moment.
    ///
    /// With a key that this user sent with the same order before (for as long as it is
    /// [kept](IdempotencyKey::KEPT)), the answer is that of then, and nothing changes; an order that was not
    /// filled leaves its key unused. From the commit on, dropping the future changes nothing.
    pub async fn open(
        &self,
        user: UserId,
        order: Order,
        key: Option<IdempotencyKey>,
    ) -> Result<Position, OrderError> {
        // The time before the price: what the price does from this moment on concerns the position.
        let now = self.clock.wall();
        if let Some(key) = &key
            && let Some(before) = self.positions.opened_with(&user, key, now).await?
        {
            return as_before(before, &order);
        }
        let quote = self.market.quote(&order.symbol).ok_or(OrderError::UnknownSymbol)?;
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

    /// Closes a user's position at the price of the moment.
    ///
    /// From the commit on, dropping the future changes nothing.
    pub async fn close(&self, user: &UserId, id: PositionId) -> Result<Position, CloseError> {
        let position = self.positions.find(user, id).await?.ok_or(CloseError::NoSuchPosition)?;
        if position.closed.is_some() {
            return Err(CloseError::AlreadyClosed);
        }
        let quote = self.market.quote(&position.order.symbol).ok_or(CloseError::NotTraded)?;
        let trading = self.clone();
        in_one_piece(async move {
            let settled = trading.settle(position, quote.price, CloseReason::User).await?;
            settled.ok_or(CloseError::AlreadyClosed)
        })
        .await
    }

    /// The user's positions before `before`, opened last first: at most `limit`, and never more than
    /// [`Trading::MAX_PAGE`].
    pub async fn page(
        &self,
        user: &UserId,
        status: Option<Status>,
        before: Option<PositionId>,
        limit: usize,
    ) -> Result<PositionPage, StoreError> {
        let limit = limit.clamp(1, Self::MAX_PAGE);
        // One more than is shown tells whether there is a next page.
        let mut positions = self.positions.page(user, status, before, limit + 1).await?;
        let more = positions.len() > limit;
        positions.truncate(limit);
        let next = more.then(|| positions.last().map(|position| position.id)).flatten();
        Ok(PositionPage { positions, next })
    }

    /// Closes an open position at this price, and says so on the bus; `None` if somebody else has closed it
    /// before.
    async fn settle(
        &self,
        open: Position,
        price: Price,
        reason: CloseReason,
    ) -> Result<Option<Position>, StoreError> {
        let closed = open.closed_at(price, reason, self.clock.wall());
        let entry = EntryId::new(self.ids.next());
        let Close::Closed(number) = self.positions.close(&closed, entry).await? else {
            return Ok(None);
        };
        let position = Box::new(closed.clone());
        self.announce(DomainEvent::PositionClosed { position, number }).await;
        Ok(Some(closed))
    }

    async fn announce(&self, event: DomainEvent) {
        let name = event.name();
        if let Err(error) = self.events.publish(event).await {
            // It is in the database, and that is the answer; the next start reconciles what follows from it.
            tracing::warn!(event = name, %error, "a trade was not announced");
        }
    }
}

/// The answer to an order whose key was used before: what it was then, open, whatever happened since.
fn as_before(before: Position, order: &Order) -> Result<Position, OrderError> {
    if before.order == *order {
        Ok(Position { closed: None, ..before })
    } else {
        Err(OrderError::KeyReused)
    }
}

/// A client that hangs up drops its request's future, wherever that is. What must not end between the commit
/// and the event runs as a task of its own.
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
