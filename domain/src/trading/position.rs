use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use super::{Price, Quantity, Symbol};
use crate::{EntryId, EntryKind, IdError, LedgerEntry, Money, Timestamp, UserId};

/// A bet on a price, open from its fill until the user or the price closes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The position's id.
    pub id: PositionId,
    /// Its user.
    pub user_id: UserId,
    /// The order that was filled.
    pub order: Order,
    /// The fill price.
    pub fill_price: Price,
    /// The amount reserved from the balance at the fill: the largest possible loss.
    pub cost: Money,
    /// When it was filled.
    pub opened_at: Timestamp,
    /// How it was closed; `None` while it is open.
    pub closed: Option<Closed>,
}

/// A user's order, to be filled at the current price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The instrument.
    pub symbol: Symbol,
    /// Long or short.
    pub side: Side,
    /// The number of units.
    pub quantity: Quantity,
    /// Close when the price has fallen (long) or risen (short) to this.
    pub stop_loss: Option<Price>,
    /// Close when the price has risen (long) or fallen (short) to this.
    pub take_profit: Option<Price>,
}

/// The end of a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// The price at which it was closed.
    pub exit_price: Price,
    /// The gain, or (negative) the loss, which is never more than the cost.
    pub realised_pnl: Money,
    /// Why it was closed.
    pub reason: CloseReason,
    /// When it was closed.
    pub at: Timestamp,
}

/// The id of a position. The simulation makes UUIDv7s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PositionId(Uuid);

impl PositionId {
    /// The smallest and the largest id: the ends of a range.
    pub const ENDS: (Self, Self) = (Self(Uuid::nil()), Self(Uuid::max()));

    /// Wraps a UUID.
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The UUID inside.
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for PositionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for PositionId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Uuid::try_parse(text).map(Self).map_err(|_| IdError)
    }
}

words! {
    /// In which direction the price must move for a gain.
    Side,
    /// Up.
    Long = "long",
    /// Down.
    Short = "short",
}

words! {
    /// Why a position was closed.
    CloseReason,
    /// The user closed it.
    User = "user",
    /// The price crossed the stop-loss.
    StopLoss = "stop_loss",
    /// The price crossed the take-profit.
    TakeProfit = "take_profit",
    /// The loss reached the cost.
    Liquidated = "liquidated",
}

/// Why an order cannot be filled at a price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OrderFault {
    /// The cost rounds to zero.
    #[error("is too small: the cost rounds to zero")]
    TooSmall,
    /// The cost is larger than the largest amount of money.
    #[error("is too large: the cost is out of range")]
    TooLarge,
    /// The stop-loss would close the position at once.
    #[error("must be {} the price, which is {price}",
        match .side { Side::Long => "below", Side::Short => "above" })]
    StopLoss {
        /// Of which the order is.
        side: Side,
        /// The price at the moment.
        price: Price,
    },
    /// The take-profit would close the position at once.
    #[error("must be {} the price, which is {price}",
        match .side { Side::Long => "above", Side::Short => "below" })]
    TakeProfit {
        /// Of which the order is.
        side: Side,
        /// The price at the moment.
        price: Price,
    },
}

/// The prices that close a position automatically, at most one on each side of the fill price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Triggers {
    /// This price or a lower one closes it.
    pub at_or_below: Option<Price>,
    /// This price or a higher one closes it.
    pub at_or_above: Option<Price>,
}

impl Position {
    /// Fills the order at this price.
    ///
    /// The cost is quantity times price, rounded half to even to the minor unit.
    pub fn open(
        id: PositionId,
        user_id: UserId,
        order: Order,
        price: Price,
        now: Timestamp,
    ) -> Result<Self, OrderFault> {
        let side = order.side;
        let (below, above) = match side {
            Side::Long => (order.stop_loss, order.take_profit),
            Side::Short => (order.take_profit, order.stop_loss),
        };
        let stop_loss = OrderFault::StopLoss { side, price };
        let take_profit = OrderFault::TakeProfit { side, price };
        let (if_below, if_above) = match side {
            Side::Long => (stop_loss, take_profit),
            Side::Short => (take_profit, stop_loss),
        };
        if below.is_some_and(|trigger| trigger >= price) {
            return Err(if_below);
        }
        if above.is_some_and(|trigger| trigger <= price) {
            return Err(if_above);
        }
        let cost = times(order.quantity, price.as_micros()).ok_or(OrderFault::TooLarge)?;
        if cost <= Money::ZERO {
            return Err(OrderFault::TooSmall);
        }
        Ok(Self { id, user_id, order, fill_price: price, cost, opened_at: now, closed: None })
    }

    /// Returns the position, closed at this price.
    #[must_use]
    pub fn closed_at(mut self, price: Price, reason: CloseReason, now: Timestamp) -> Self {
        let realised_pnl = self.pnl(price);
        self.closed = Some(Closed { exit_price: price, realised_pnl, reason, at: now });
        self
    }

    /// The profit or loss at this price: quantity times the change of the price, rounded half to even to the minor
    /// unit. A loss is never larger than the cost.
    pub fn pnl(&self, price: Price) -> Money {
        let way = price.as_micros() - self.fill_price.as_micros();
        let way = match self.order.side {
            Side::Long => way,
            Side::Short => -way,
        };
        let most = Money::from_minor(if way < 0 { i64::MIN } else { i64::MAX });
        let pnl = times(self.order.quantity, way).unwrap_or(most);
        // Cost plus gain, which are paid back, must not exceed the largest amount of money.
        let largest = Money::from_minor(i64::MAX - self.cost.minor_units());
        pnl.clamp(Money::from_minor(-self.cost.minor_units()), largest)
    }

    /// The first price at which the loss, before rounding, reaches the cost; `None` if there is no such price.
    pub fn liquidation_price(&self) -> Option<Price> {
        let quantity = i128::from(self.order.quantity.as_micros());
        let cost = i128::from(self.cost.minor_units()) * MINOR_UNIT;
        let way = (cost + quantity - 1) / quantity;
        let entry = i128::from(self.fill_price.as_micros());
        let price = match self.order.side {
            Side::Long => entry - way,
            Side::Short => entry + way,
        };
        i64::try_from(price).ok().and_then(Price::from_micros)
    }

    /// The prices that the price watcher waits for.
    pub fn triggers(&self) -> Triggers {
        let Order { stop_loss, take_profit, .. } = self.order;
        let liquidation = self.liquidation_price();
        match self.order.side {
            Side::Long => {
                Triggers { at_or_below: stop_loss.max(liquidation), at_or_above: take_profit }
            }
            Side::Short => {
                let first = [stop_loss, liquidation].into_iter().flatten().min();
                Triggers { at_or_below: take_profit, at_or_above: first }
            }
        }
    }

    /// Returns the reason for which this price closes the position, if it does. The price may have jumped over
    /// triggers: a loss that reaches the cost is always a liquidation.
    pub fn crossed(&self, price: Price) -> Option<CloseReason> {
        let beyond = |trigger: Option<Price>, down: bool| {
            trigger.is_some_and(|trigger| if down { price <= trigger } else { price >= trigger })
        };
        let loses_downwards = self.order.side == Side::Long;
        if beyond(self.liquidation_price(), loses_downwards) {
            Some(CloseReason::Liquidated)
        } else if beyond(self.order.stop_loss, loses_downwards) {
            Some(CloseReason::StopLoss)
        } else if beyond(self.order.take_profit, !loses_downwards) {
            Some(CloseReason::TakeProfit)
        } else {
            None
        }
    }

    /// The ledger entry that reserves the cost.
    pub fn reservation(&self, id: EntryId) -> LedgerEntry {
        self.entry(id, EntryKind::PositionOpened, -self.cost.minor_units(), self.opened_at)
    }

    /// The ledger entry that pays back the cost plus the profit or loss; `None` while the position is open. Its
    /// amount is zero if all is lost.
    pub fn settlement(&self, id: EntryId) -> Option<LedgerEntry> {
        let closed = self.closed?;
        let paid = self.cost.minor_units().saturating_add(closed.realised_pnl.minor_units());
        Some(self.entry(id, EntryKind::PositionClosed, paid.max(0), closed.at))
    }

    fn entry(&self, id: EntryId, kind: EntryKind, minor: i64, at: Timestamp) -> LedgerEntry {
        LedgerEntry {
            id,
            user_id: self.user_id.clone(),
            kind,
            amount: Money::from_minor(minor),
            reference: self.id.to_string(),
            created_at: at,
        }
    }
}

/// How many millionths times millionths are in one minor unit of money.
const MINOR_UNIT: i128 = Price::SCALE as i128 * Quantity::SCALE as i128 / Money::SCALE as i128;

/// Quantity times a number of millionths, rounded half to even to the minor unit; `None` if it is out of range for
/// [`Money`].
fn times(quantity: Quantity, micros: i64) -> Option<Money> {
    let exact = i128::from(quantity.as_micros()) * i128::from(micros);
    let (down, rest) = (exact.div_euclid(MINOR_UNIT), exact.rem_euclid(MINOR_UNIT));
    let up = match (rest * 2).cmp(&MINOR_UNIT) {
        std::cmp::Ordering::Less => 0,
        std::cmp::Ordering::Equal => down.rem_euclid(2),
        std::cmp::Ordering::Greater => 1,
    };
    i64::try_from(down + up).ok().map(Money::from_minor)
}

#[cfg(test)]
mod tests;
