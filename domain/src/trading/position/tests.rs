use proptest::prelude::*;

use super::*;

fn price(text: &str) -> Price {
    text.parse().unwrap()
}

fn order(side: Side, quantity: &str, stop_loss: &str, take_profit: &str) -> Order {
    let trigger = |text: &str| (!text.is_empty()).then(|| price(text));
    Order {
        symbol: "BTC-USD".parse().unwrap(),
        side,
        quantity: quantity.parse().unwrap(),
        stop_loss: trigger(stop_loss),
        take_profit: trigger(take_profit),
    }
}

fn open(order: Order, at: &str) -> Result<Position, OrderFault> {
    let id = PositionId::new(Uuid::from_u128(1));
    let user = UserId::from(Uuid::from_u128(2));
    Position::open(id, user, order, price(at), Timestamp::default())
}

fn cost(quantity: &str, at: &str) -> String {
    open(order(Side::Long, quantity, "", ""), at).unwrap().cost.to_string()
}

#[test]
fn cost_is_rounded_half_to_even() {
    let cases = [
        ("1", "10", "10.00"),
        ("1", "0.005001", "0.01"),
        ("1", "0.014999", "0.01"),
        // Halves, to the even neighbour.
        ("1", "0.015", "0.02"),
        ("1", "0.025", "0.02"),
        ("0.5", "2.05", "1.02"),
        ("0.5", "2.07", "1.04"),
        ("3", "33.333333", "100.00"),
    ];
    for (quantity, at, expected) in cases {
        assert_eq!(cost(quantity, at), expected, "{quantity} at {at}");
    }
}

#[test]
fn gains_and_losses_are_rounded_half_to_even() {
    let pnl = |side, quantity, at: &str, exit: &str| {
        open(order(side, quantity, "", ""), at).unwrap().pnl(price(exit)).to_string()
    };
    assert_eq!(pnl(Side::Long, "2", "100", "110"), "20.00");
    assert_eq!(pnl(Side::Short, "2", "100", "110"), "-20.00");
    assert_eq!(pnl(Side::Long, "1", "100", "100.005"), "0.00");
    assert_eq!(pnl(Side::Long, "1", "100", "100.015"), "0.02");
    assert_eq!(pnl(Side::Short, "1", "100", "100.015"), "-0.02");
    assert_eq!(pnl(Side::Short, "1", "100", "100.025"), "-0.02");
    // A large gap: the whole cost is lost, and no more.
    assert_eq!(pnl(Side::Short, "1", "100", "1000"), "-100.00");
    assert_eq!(pnl(Side::Long, "1", "100", "0.000001"), "-100.00");
}

#[test]
fn a_cost_of_zero_or_out_of_range_is_refused() {
    let tiny = order(Side::Long, "0.000001", "", "");
    assert_eq!(open(tiny, "1"), Err(OrderFault::TooSmall));
    let huge = order(Side::Long, "1000000000", "", "");
    assert_eq!(open(huge, "1000000000"), Err(OrderFault::TooLarge));
}

#[test]
fn triggers_must_be_on_the_right_side_of_the_price() {
    let at = price("100");
    let stop = |side| Err(OrderFault::StopLoss { side, price: at });
    let take = |side| Err(OrderFault::TakeProfit { side, price: at });
    let (long, short) = (Side::Long, Side::Short);
    let cases = [
        (long, "99.999999", "100.000001", Ok(())),
        (long, "100", "", stop(long)),
        (long, "101", "", stop(long)),
        (long, "", "100", take(long)),
        (long, "", "99", take(long)),
        (short, "100.000001", "99.999999", Ok(())),
        (short, "100", "", stop(short)),
        (short, "99", "", stop(short)),
        (short, "", "100", take(short)),
        (short, "", "101", take(short)),
    ];
    for (side, stop_loss, take_profit, expected) in cases {
        let opened = open(order(side, "1", stop_loss, take_profit), "100").map(drop);
        assert_eq!(opened, expected, "{side:?} {stop_loss:?} {take_profit:?}");
    }
}

#[test]
fn a_price_closes_for_one_reason_even_after_a_gap() {
    let crossed = |side, exit: &str| {
        let (stop_loss, take_profit) =
            if side == Side::Long { ("90", "110") } else { ("110", "90") };
        open(order(side, "1", stop_loss, take_profit), "100").unwrap().crossed(price(exit))
    };
    let (stop, take, all) =
        (Some(CloseReason::StopLoss), Some(CloseReason::TakeProfit), Some(CloseReason::Liquidated));
    let cases = [
        (Side::Long, "90.000001", None),
        (Side::Long, "90", stop),
        (Side::Long, "1", stop),
        (Side::Long, "109.999999", None),
        (Side::Long, "110", take),
        (Side::Long, "900", take),
        (Side::Short, "109.999999", None),
        (Side::Short, "110", stop),
        (Side::Short, "199.999999", stop),
        (Side::Short, "200", all),
        (Side::Short, "5000", all),
        (Side::Short, "90", take),
        (Side::Short, "0.000001", take),
    ];
    for (side, exit, expected) in cases {
        assert_eq!(crossed(side, exit), expected, "{side:?} at {exit}");
    }
}

#[test]
fn entries_name_the_position_and_settle_to_nothing_when_all_is_lost() {
    let position = open(order(Side::Short, "2", "", ""), "50").unwrap();
    let [reserve, settle] = [3, 4].map(|id| EntryId::new(Uuid::from_u128(id)));
    let reserved = position.reservation(reserve);
    assert_eq!(
        (reserved.kind, reserved.amount),
        (EntryKind::PositionOpened, Money::from_minor(-10_000))
    );
    assert_eq!(reserved.reference, position.id.to_string());
    assert_eq!(position.settlement(settle), None);
    let lost = position.closed_at(price("300"), CloseReason::Liquidated, Timestamp::default());
    let settled = lost.settlement(settle).unwrap();
    assert_eq!((settled.kind, settled.amount), (EntryKind::PositionClosed, Money::ZERO));
    assert_eq!(settled.reference, reserved.reference);
}

fn any_position() -> impl Strategy<Value = Position> {
    let side = prop_oneof![Just(Side::Long), Just(Side::Short)];
    // Small numbers test the rounding, large ones the ends of the range.
    let micros = || prop_oneof![1..100_000_i64, 1..1_000_000_000_000_000_i64];
    let parts = (side, micros(), micros(), any::<(Option<i64>, Option<i64>)>());
    parts.prop_filter_map("an order that makes no position", |(side, quantity, at, triggers)| {
        let at = Price::from_micros(at)?;
        let near = |by: i64| Price::from_micros(at.as_micros().saturating_add(by % at.as_micros()));
        let order = Order {
            symbol: "X".parse().ok()?,
            side,
            quantity: Quantity::from_micros(quantity)?,
            stop_loss: triggers.0.and_then(near),
            take_profit: triggers.1.and_then(near),
        };
        let id = PositionId::new(Uuid::nil());
        Position::open(id, UserId::from(Uuid::nil()), order, at, Timestamp::default()).ok()
    })
}

proptest! {
    #[test]
    fn no_close_pays_a_negative_amount_and_the_sums_are_right(
        position in any_position(),
        exit in 1..=Price::MAX.as_micros(),
    ) {
        let exit = Price::from_micros(exit).unwrap();
        let closed = position.closed_at(exit, CloseReason::User, Timestamp::default());
        let paid = closed.settlement(EntryId::new(Uuid::nil())).unwrap().amount;
        let pnl = closed.closed.unwrap().realised_pnl;
        prop_assert!(!paid.is_negative());
        prop_assert_eq!(Some(paid), closed.cost.checked_add(pnl));
    }

    #[test]
    fn liquidation_is_the_first_price_at_which_all_is_lost(position in any_position()) {
        let lost = |price: Price| {
            let way = i128::from(price.as_micros() - position.fill_price.as_micros());
            let way = if position.order.side == Side::Long { -way } else { way };
            way * i128::from(position.order.quantity.as_micros())
                >= i128::from(position.cost.minor_units()) * MINOR_UNIT
        };
        let towards_entry = if position.order.side == Side::Long { 1 } else { -1 };
        if let Some(price) = position.liquidation_price() {
            prop_assert!(lost(price));
            prop_assert_eq!(position.pnl(price).minor_units(), -position.cost.minor_units());
            let before = Price::from_micros(price.as_micros() + towards_entry).unwrap();
            prop_assert!(!lost(before));
        } else {
            let worst = if position.order.side == Side::Long { Price::MIN } else { Price::MAX };
            prop_assert!(!lost(worst));
        }
    }

    #[test]
    fn the_two_triggers_agree_with_the_position(
        position in any_position(),
        exit in 1..=Price::MAX.as_micros(),
        near in -3..=3_i64,
    ) {
        let Triggers { at_or_below, at_or_above } = position.triggers();
        // Anywhere, and around each trigger.
        let around = [at_or_below, at_or_above].into_iter().flatten().map(|t| t.as_micros() + near);
        for exit in around.chain([exit]).filter_map(Price::from_micros) {
            let fires = at_or_below.is_some_and(|trigger| exit <= trigger)
                || at_or_above.is_some_and(|trigger| exit >= trigger);
            prop_assert_eq!(fires, position.crossed(exit).is_some());
        }
        prop_assert!(position.crossed(position.fill_price).is_none(), "closed as it opens");
    }
}
