use std::num::NonZeroU64;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use doorstep_domain::ports::{
    Fence, MarketLine, MarketNews, MockEventPublisher, MockLease, MockPositions, MockPriceFeed,
};
use doorstep_domain::{Quote, Side, Timestamp};
use tokio::sync::Notify;
use tokio::time::Instant;
use uuid::Uuid;

use super::*;
use crate::StopSignal;

/// A clock and ids that count up by one.
#[derive(Default)]
struct Counter(std::sync::atomic::AtomicU32);

impl Counter {
    fn count(&self) -> u32 {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }
}

impl Clock for Counter {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.count().into())
    }
}

impl Ids for Counter {
    fn next(&self) -> Uuid {
        Uuid::from_u128(self.count().into())
    }
}

fn price(units: i64) -> Price {
    Price::from_micros(units * Price::SCALE).unwrap()
}

fn quote(units: i64) -> Quote {
    Quote { symbol: "X".parse().unwrap(), price: price(units), at: Timestamp::default() }
}

fn order(symbol: &str, stop_loss: Option<i64>) -> Order {
    Order {
        symbol: symbol.parse().unwrap(),
        side: Side::Long,
        quantity: "1".parse().unwrap(),
        stop_loss: stop_loss.map(price),
        take_profit: None,
    }
}

fn ada() -> UserId {
    UserId::from(Uuid::from_u128(1))
}

/// Trading in X at 100, and the events that it published.
fn trading(positions: MockPositions) -> (Trading, Arc<Mutex<Vec<DomainEvent>>>) {
    let announced = Arc::new(Mutex::new(Vec::new()));
    let mut events = MockEventPublisher::new();
    let log = Arc::clone(&announced);
    events.expect_publish().returning(move |event| {
        log.lock().unwrap().push(event);
        Ok(())
    });
    let trading = Trading::new(TradingParts {
        positions: Arc::new(positions),
        market: Arc::new(Market::opening_with([quote(100)])),
        events: Arc::new(events),
        clock: Arc::new(Counter::default()),
        ids: Arc::new(Counter::default()),
        max_open: Trading::MAX_OPEN,
    });
    (trading, announced)
}

#[tokio::test]
async fn an_order_is_filled_at_the_price_and_announced() {
    let mut positions = MockPositions::new();
    positions.expect_open().once().returning(|_| Ok(Open::Opened));
    let (trading, announced) = trading(positions);
    let position = trading.open(ada(), order("X", Some(90)), None).await.unwrap();
    assert_eq!((position.fill_price, position.cost.to_string()), (price(100), "100.00".into()));
    let expected = DomainEvent::PositionOpened { position: Box::new(position) };
    assert_eq!(*announced.lock().unwrap(), [expected]);
}

#[tokio::test]
async fn an_invalid_order_never_reaches_the_store() {
    let (trading, announced) = trading(MockPositions::new());
    let unknown = trading.open(ada(), order("Y", None), None).await;
    assert!(matches!(unknown, Err(OrderError::UnknownSymbol)));
    let wrong = trading.open(ada(), order("X", Some(100)), None).await;
    assert!(matches!(wrong, Err(OrderError::Fault(OrderFault::StopLoss { .. }))));
    assert!(announced.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_repeated_key_returns_the_first_result_and_only_for_the_same_order() {
    let key: IdempotencyKey = "k".parse().unwrap();
    // Found before the order is checked, or only when it is stored: the result is the same.
    for found_early in [true, false] {
        let id = PositionId::new(Uuid::from_u128(5));
        let now = Timestamp::default();
        let then = Position::open(id, ada(), order("X", Some(90)), price(95), now).unwrap();
        let closed = then.clone().closed_at(price(80), CloseReason::StopLoss, now);
        let mut positions = MockPositions::new();
        let early = found_early.then(|| closed.clone());
        positions.expect_opened_with().returning(move |_, _, _| Ok(early.clone()));
        positions
            .expect_open()
            .times(if found_early { 0 } else { 2 })
            .returning(move |_| Ok(Open::Before(Box::new(closed.clone()))));
        let (trading, announced) = trading(positions);
        let again = trading.open(ada(), order("X", Some(90)), Some(key.clone())).await;
        assert_eq!(again.unwrap(), then, "as it was: open");
        let other = trading.open(ada(), order("X", Some(91)), Some(key.clone())).await;
        assert!(matches!(other, Err(OrderError::KeyReused)));
        assert!(announced.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_second_close_closes_nothing() {
    let open = Position::open(
        PositionId::new(Uuid::from_u128(5)),
        ada(),
        order("X", None),
        price(95),
        Timestamp::default(),
    );
    let open = open.unwrap();
    for (close, closed) in [(Close::AlreadyClosed, false), (Close::Closed(NonZeroU64::MIN), true)] {
        let mut positions = MockPositions::new();
        let found = open.clone();
        positions.expect_find().returning(move |_, _| Ok(Some(found.clone())));
        positions.expect_close().once().returning(move |_, _| Ok(close));
        let (trading, announced) = trading(positions);
        let done = trading.close(&ada(), open.id).await;
        assert_eq!(done.is_ok(), closed);
        if let Ok(position) = done {
            assert_eq!(position.closed.unwrap().realised_pnl.to_string(), "5.00");
        }
        assert_eq!(announced.lock().unwrap().len(), usize::from(closed));
    }
}

/// The prices go from 95 over 80 back to 100. The store is unavailable at first; the position is still closed at
/// the price that crossed it, and before the watcher ends.
#[tokio::test(start_paused = true)]
async fn the_watcher_closes_at_the_price_that_crossed_even_after_the_store_was_unavailable() {
    let id = PositionId::new(Uuid::from_u128(5));
    let now = Timestamp::default();
    let open = Position::open(id, ada(), order("X", Some(90)), price(100), now).unwrap();
    let mut positions = MockPositions::new();
    positions
        .expect_all_open()
        .returning(move |after, _| Ok(if after.is_some() { vec![] } else { vec![open.clone()] }));
    let closed = Arc::new(Notify::new());
    let (tries, told) = (Mutex::new(0), Arc::clone(&closed));
    positions.expect_close_all().times(3).returning(move |closings, _| {
        let ended = closings[0].position.closed.unwrap();
        assert_eq!((ended.exit_price, ended.reason), (price(80), CloseReason::StopLoss));
        let mut tries = tries.lock().unwrap();
        *tries += 1;
        if *tries < 3 {
            return Err(StoreError::Unavailable("away".into()));
        }
        told.notify_one();
        Ok(vec![Close::Closed(NonZeroU64::MIN)])
    });
    let (trading, announced) = trading(positions);
    let market = Arc::clone(&trading.market);
    let watcher = Arc::new(Watcher::new(trading));
    assert_eq!(watcher.take_up().await.unwrap(), 1);
    assert_eq!(watcher.watched(), 1);

    let mut feed = MockPriceFeed::new();
    let mut prices = [95, 80, 100].into_iter();
    feed.expect_next().returning(move || prices.next().map(quote));
    let stop = StopSignal::new();
    let running = tokio::spawn(Arc::clone(&watcher).run(Box::new(feed), stop.clone()));
    closed.notified().await;
    stop.give();
    running.await.unwrap();
    assert_eq!(announced.lock().unwrap().len(), 1);
    assert_eq!(watcher.watched(), 0);
    assert_eq!(market.quote(&"X".parse().unwrap()).unwrap().price, price(100));
}

/// The open positions of ada with a stop-loss at 90.
fn many(count: u128) -> Vec<Position> {
    let open = |n: u128| {
        let id = PositionId::new(Uuid::from_u128(n));
        let now = Timestamp::default();
        Position::open(id, ada(), order("X", Some(90)), price(100), now).unwrap()
    };
    (1..=count).map(open).collect()
}

/// Lets a price of 80 cross them all, and runs until all are settled. Returns how many were announced.
async fn crossed(
    positions: Vec<Position>,
    mut store: MockPositions,
    know: impl FnOnce(&Arc<Watcher>),
) -> usize {
    store
        .expect_all_open()
        .returning(move |after, _| Ok(if after.is_some() { vec![] } else { positions.clone() }));
    let (trading, announced) = trading(store);
    let watcher = Arc::new(Watcher::new(trading));
    know(&watcher);
    watcher.take_up().await.unwrap();
    let mut feed = MockPriceFeed::new();
    let mut prices = [80].into_iter();
    let stop = StopSignal::new();
    let ended = stop.clone();
    feed.expect_next().returning(move || {
        let price = prices.next();
        if price.is_none() {
            ended.give();
        }
        price.map(quote)
    });
    watcher.run(Box::new(feed), stop).await;
    announced.lock().unwrap().len()
}

/// Many positions are crossed at once. Those whose closing has begun are closed, and the others are left.
#[tokio::test(start_paused = true)]
async fn no_closing_begins_once_the_rest_is_to_be_left() {
    let watching: Arc<OnceLock<Arc<Watcher>>> = Arc::default();
    let in_the_store = watching.clone();
    let mut store = MockPositions::new();
    store.expect_close_all().returning(move |closings, _| {
        in_the_store.get().unwrap().leave_the_rest();
        Ok(vec![Close::Closed(NonZeroU64::MIN); closings.len()])
    });
    let announced = crossed(many(1000), store, |watcher| drop(watching.set(watcher.clone()))).await;
    assert_eq!(announced, 4 * 64, "as many as are closed at once");
}

/// One at a time, each would wait for all orders of users that are before it at the store.
#[tokio::test(start_paused = true)]
async fn what_a_price_crosses_is_closed_in_few_transactions() {
    let calls = Arc::new(Mutex::new(0));
    let count = calls.clone();
    let mut store = MockPositions::new();
    store.expect_close_all().returning(move |closings, lease| {
        assert!(lease.is_none() && closings.len() <= 64);
        *count.lock().unwrap() += 1;
        Ok(vec![Close::Closed(NonZeroU64::MIN); closings.len()])
    });
    assert_eq!(crossed(many(640), store, |_| {}).await, 640);
    assert_eq!(*calls.lock().unwrap(), 10);
}

/// The seventh cannot be read.
#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_closed_leaves_no_other_open() {
    let seventh = PositionId::new(Uuid::from_u128(7));
    let mut store = MockPositions::new();
    store.expect_close_all().returning(move |closings, _| {
        if closings.iter().any(|closing| closing.position.id == seventh) {
            return Err(StoreError::Corrupt("the seventh".into()));
        }
        Ok(vec![Close::Closed(NonZeroU64::MIN); closings.len()])
    });
    assert_eq!(crossed(many(20), store, |_| {}).await, 19);
}

/// No other node is there.
struct Silence;

#[async_trait]
impl MarketLine for Silence {
    async fn tell(&self, _: MarketNews) {}

    async fn hear(&self) -> MarketNews {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_position_is_closed_only_under_the_lease_of_the_price_that_crossed_it() {
    // Still the same lease, and one that was lost and taken again in between.
    for (held, closed) in [(Fence(1), 1), (Fence(2), 0)] {
        let mut positions = MockPositions::new();
        positions
            .expect_close_all()
            .withf(|_, lease| lease.as_ref().is_some_and(|lease| lease.fence == Fence(1)))
            .times(closed)
            .returning(|_, _| Ok(vec![Close::Closed(NonZeroU64::MIN)]));
        let (trading, announced) = trading(positions);
        let (mut lease, second) = (MockLease::new(), Duration::from_secs(1));
        lease.expect_take().returning(|_, _, _| Ok(None));
        let shared =
            Arc::new(SharedPrices::new(Arc::new(lease), Arc::new(Silence), "me".into(), second));
        let watcher = Arc::new(Watcher::new(trading).shared(shared.clone()));
        shared.tenure.held(Fence(1), Instant::now(), second);
        let id = PositionId::new(Uuid::from_u128(5));
        let now = Timestamp::default();
        let open = Position::open(id, ada(), order("X", Some(90)), price(100), now).unwrap();
        watcher.watch_since(open, now);
        watcher.price(quote(80));
        shared.tenure.held(held, Instant::now(), second);
        let stop = StopSignal::new();
        stop.give();
        watcher.run(Box::new(MockPriceFeed::new()), stop).await;
        assert_eq!(announced.lock().unwrap().len(), closed);
    }
}
