use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use super::{Price, Quantity, Symbol};
use crate::{EntryId, EntryKind, LedgerEntry, Money, Timestamp, UserId};

/// One bet on a price: open from its fill until somebody or something closes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Its name.
    pub id: PositionId,
    /// Whose it is.
    pub user_id: UserId,
    /// What was ordered.
    pub order: Order,
    /// The fill price.
    pub fill_price: Price,
    /// What was reserved from the balance at the fill: all that can be lost.
    pub cost: Money,
    /// When it was filled.
    pub opened_at: Timestamp,
    /// How it ended, if it has.
    pub closed: Option<Closed>,
}

/// What a user wants at the price of the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Of what.
    pub symbol: Symbol,
    /// Up or down.
    pub side: Side,
    /// How much.
    pub quantity: Quantity,
    /// Close when the price has fallen (long) or risen (short) so far.
    pub stop_loss: Option<Price>,
    /// Close when the price has risen (long) or fallen (short) so far.
    pub take_profit: Option<Price>,
}

/// The end of a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// The price at which it was closed.
    pub exit_price: Price,
    /// What it gained, or (negative) lost; never more than its cost.
    pub realised_pnl: Money,
    /// Why it was closed.
    pub reason: CloseReason,
    /// When.
    pub at: Timestamp,
}

/// The name of one position. The simulation makes UUIDv7s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PositionId(Uuid);

impl PositionId {
    /// The first and the last there can be: the ends of a range.
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
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::try_parse(text).map(Self)
    }
}

/// An enum of words, used in the store and on the wire alike.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word used in the store and on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// The one with that word.
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.as_str() == word)
            }
        }
    };
}

words! {
    /// Which way the price must go for a gain.
    Side,
    /// Up.
    Long = "long",
    /// Down.
    Short = "short",
}

words! {
    /// Why a position was closed.
    CloseReason,
    /// Its user wanted it.
    User = "user",
    /// The price crossed the stop-loss.
    StopLoss = "stop_loss",
    /// The price crossed the take-profit.
    TakeProfit = "take_profit",
    /// The loss reached the cost.
    Liquidated = "liquidated",
}

/// Why an order makes no position at a price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OrderFault {
    /// The cost rounds to nothing.
    #[error("so little of it costs nothing")]
    TooSmall,
    /// The cost is no amount of money any more.
    #[error("so much of it cannot be paid for with any amount of money")]
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

/// The prices that close a position by themselves, merged to at most one on each side of the price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Triggers {
    /// A price that is not above this closes it.
    pub at_or_below: Option<Price>,
    /// A price that is not below this closes it.
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

    /// The same position, closed at this price.
    #[must_use]
    pub fn closed_at(mut self, price: Price, reason: CloseReason, now: Timestamp) -> Self {
        let realised_pnl = self.pnl(price);
        self.closed = Some(Closed { exit_price: price, realised_pnl, reason, at: now });
        self
    }

    /// What closing at this price gains: quantity times the way the price went, rounded half to even to the
    /// minor unit; a loss is never larger than the cost.
    pub fn pnl(&self, price: Price) -> Money {
        let way = price.as_micros() - self.fill_price.as_micros();
        let way = match self.order.side {
            Side::Long => way,
            Side::Short => -way,
        };
        let most = Money::from_minor(if way < 0 { i64::MIN } else { i64::MAX });
        let pnl = times(self.order.quantity, way).unwrap_or(most);
        // What is paid back, cost and gain, must be an amount of money too.
        let largest = Money::from_minor(i64::MAX - self.cost.minor_units());
        pnl.clamp(Money::from_minor(-self.cost.minor_units()), largest)
    }

    /// The first price at which the loss, before rounding, reaches the cost; `None` where no price does.
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

    /// What the price watcher has to look out for.
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

    /// What this price, which may have jumped over a trigger, does to the position. A loss that reaches the
    /// cost is a liquidation, whatever else was crossed on the way.
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

    /// The ledger entry that reserves its cost.
    pub fn reservation(&self, id: EntryId) -> LedgerEntry {
        self.entry(id, EntryKind::PositionOpened, -self.cost.minor_units(), self.opened_at)
    }

    /// The ledger entry that pays back its cost and what it gained; `None` while it is open. Zero when all
    /// is lost.
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

/// Millionths times millionths in one minor unit of money.
const MINOR_UNIT: i128 = Price::SCALE as i128 * Quantity::SCALE as i128 / Money::SCALE as i128;

/// Quantity times a number of millionths, rounded half to even to the minor unit; `None` when it is no amount
/// of money.
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
