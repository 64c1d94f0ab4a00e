use std::collections::{BTreeSet, HashMap, VecDeque};

use doorstep_domain::{CloseReason, Position, PositionId, Price, Timestamp, Triggers};

/// The triggers of the open positions in one instrument, ordered by price. The cost of a price depends on how many
/// triggers it crosses, not on how many there are. Pure: no lock, no clock.
#[derive(Debug, Default)]
pub struct TriggerIndex {
    /// Triggers that fire at this price or below it.
    below: BTreeSet<(Price, PositionId)>,
    /// Triggers that fire at this price or above it.
    above: BTreeSet<(Price, PositionId)>,
    positions: HashMap<PositionId, Position>,
    /// The last prices, for positions that are added a moment after they were opened.
    recent: VecDeque<(Timestamp, Price)>,
}

/// An open position, one of whose triggers was crossed by a price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crossed {
    /// The open position.
    pub position: Position,
    /// The price that crossed the trigger, at which the position is closed.
    pub price: Price,
    /// Which trigger was crossed.
    pub reason: CloseReason,
}

impl TriggerIndex {
    /// How many prices are kept. A position is added within a few of them, unless the bus is congested.
    const RECENT: usize = 256;

    /// Adds a position that was opened at this time. Returns it if one of the prices since then has crossed it.
    /// The time is on the clock's timeline, like those of the prices: a step of the wall clock must not make a
    /// price from before the opening look like one from after it.
    pub fn add(&mut self, position: Position, opened: Timestamp) -> Option<Crossed> {
        for &(_, price) in self.recent.iter().filter(|(at, _)| *at >= opened) {
            if let Some(reason) = position.crossed(price) {
                return Some(Crossed { position, price, reason });
            }
        }
        let Triggers { at_or_below, at_or_above } = position.triggers();
        self.below.extend(at_or_below.map(|price| (price, position.id)));
        self.above.extend(at_or_above.map(|price| (price, position.id)));
        self.positions.insert(position.id, position);
        None
    }

    /// Removes a position, which is closed. An unknown position changes nothing.
    pub fn remove(&mut self, id: PositionId) -> Option<Position> {
        let position = self.positions.remove(&id)?;
        let Triggers { at_or_below, at_or_above } = position.triggers();
        if let Some(price) = at_or_below {
            self.below.remove(&(price, id));
        }
        if let Some(price) = at_or_above {
            self.above.remove(&(price, id));
        }
        Some(position)
    }

    /// Takes out all positions that this price crosses, those with the nearest triggers first.
    pub fn price(&mut self, price: Price, at: Timestamp) -> Vec<Crossed> {
        if self.recent.len() == Self::RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((at, price));
        let mut crossed = Vec::new();
        while let Some(&(trigger, id)) = self.below.last()
            && trigger >= price
        {
            self.take(id, price, &mut crossed);
        }
        while let Some(&(trigger, id)) = self.above.first()
            && trigger <= price
        {
            self.take(id, price, &mut crossed);
        }
        crossed
    }

    /// The positions that it holds.
    pub fn ids(&self) -> impl Iterator<Item = PositionId> {
        self.positions.keys().copied()
    }

    /// How many positions it holds.
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    fn take(&mut self, id: PositionId, price: Price, crossed: &mut Vec<Crossed>) {
        // Both sets and the map change together, so the position is there and the price crosses it.
        if let Some(position) = self.remove(id)
            && let Some(reason) = position.crossed(price)
        {
            crossed.push(Crossed { position, price, reason });
        }
    }
}

#[cfg(test)]
mod tests {
    use doorstep_domain::{Order, Side, UserId};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn add(index: &mut TriggerIndex, position: Position) -> Option<Crossed> {
        let opened = position.opened_at;
        index.add(position, opened)
    }

    fn price(units: i64) -> Price {
        Price::from_micros(units * Price::SCALE).unwrap()
    }

    fn position(
        id: u128,
        side: Side,
        stop_loss: Option<i64>,
        take_profit: Option<i64>,
    ) -> Position {
        let order = Order {
            symbol: "X".parse().unwrap(),
            side,
            quantity: "1".parse().unwrap(),
            stop_loss: stop_loss.map(price),
            take_profit: take_profit.map(price),
        };
        let id = PositionId::new(Uuid::from_u128(id));
        let user = UserId::from(Uuid::nil());
        Position::open(id, user, order, price(100), Timestamp::from_micros(10)).unwrap()
    }

    fn ids(crossed: &[Crossed]) -> Vec<u128> {
        crossed.iter().map(|crossed| crossed.position.id.as_uuid().as_u128()).collect()
    }

    #[test]
    fn a_price_takes_out_what_it_crosses_nearest_first_and_once() {
        let mut index = TriggerIndex::default();
        for (id, stop) in [(1, 80), (2, 95), (3, 90), (4, 50)] {
            assert_eq!(add(&mut index, position(id, Side::Long, Some(stop), None)), None);
        }
        add(&mut index, position(5, Side::Short, Some(120), None));
        let at = Timestamp::from_micros(20);
        assert_eq!(ids(&index.price(price(96), at)), []);
        assert_eq!(ids(&index.price(price(70), at)), [2, 3, 1]);
        assert_eq!(ids(&index.price(price(70), at)), []);
        // A gap beyond stop-loss and liquidation.
        let crossed = index.price(price(300), at);
        assert_eq!(ids(&crossed), [5]);
        assert_eq!((crossed[0].price, crossed[0].reason), (price(300), CloseReason::Liquidated));
        assert_eq!(index.len(), 1);
    }

    #[test]
    fn a_position_that_is_added_late_is_checked_against_the_prices_since_it_was_opened() {
        let mut index = TriggerIndex::default();
        index.price(price(10), Timestamp::from_micros(9));
        index.price(price(85), Timestamp::from_micros(11));
        index.price(price(100), Timestamp::from_micros(12));
        let crossed = add(&mut index, position(1, Side::Long, Some(90), None)).unwrap();
        assert_eq!((crossed.price, crossed.reason), (price(85), CloseReason::StopLoss));
        assert_eq!(add(&mut index, position(2, Side::Long, Some(80), None)), None);
        assert_eq!(index.len(), 1);
    }

    #[test]
    fn a_removed_position_never_fires() {
        let mut index = TriggerIndex::default();
        add(&mut index, position(1, Side::Short, Some(110), Some(90)));
        assert!(index.remove(PositionId::new(Uuid::from_u128(1))).is_some());
        assert!(index.remove(PositionId::new(Uuid::from_u128(1))).is_none());
        for to in [1, 1000] {
            assert_eq!(index.price(price(to), Timestamp::from_micros(20)), []);
        }
        assert!(index.below.is_empty() && index.above.is_empty());
    }

    proptest! {
        /// Compares with the obvious algorithm, which checks every position at every price.
        #[test]
        fn it_finds_what_checking_each_position_finds(
            orders in prop::collection::vec((any::<bool>(), 1..100_i64, 101..250_i64, 0..4_u8), 0..40),
            prices in prop::collection::vec(1..300_i64, 0..40),
        ) {
            let mut open: Vec<Position> = orders.iter().enumerate().map(|(id, &(long, low, high, which))| {
                let (low, high) = ((which & 1 == 0).then_some(low), (which & 2 == 0).then_some(high));
                let id = id as u128;
                if long { position(id, Side::Long, low, high) } else { position(id, Side::Short, high, low) }
            }).collect();
            let mut index = TriggerIndex::default();
            for position in open.clone() {
                prop_assert!(add(&mut index, position).is_none());
            }
            for to in prices.into_iter().map(price) {
                let mut found = ids(&index.price(to, Timestamp::from_micros(20)));
                found.sort_unstable();
                let expected: Vec<_> = open
                    .extract_if(.., |position| position.crossed(to).is_some())
                    .map(|position| position.id.as_uuid().as_u128())
                    .collect();
                prop_assert_eq!(found, expected);
                prop_assert_eq!(index.len(), open.len());
            }
        }
    }
}
