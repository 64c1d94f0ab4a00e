//! Who makes the prices, in virtual time: one node at a time, and another within six seconds.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use doorstep_application::StopSignal;
use doorstep_application::trading::{Market, SharedPrices, Trading, TradingParts, Watcher};
use doorstep_contract::memory_bank::MemoryBank;
use doorstep_domain::ports::{
    Clock, Close, Closing, Fence, Lease, MarketLine, MarketNews, MockEventPublisher, MockPositions,
    PriceFeed, StoreError, TakenLease,
};
use doorstep_domain::{
    Order, Position, PositionId, Price, Quote, Side, Symbol, Timestamp, UserId, V7Ids,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, interval, sleep};
use uuid::Uuid;

/// The time of tokio.
struct VirtualClock(Instant);

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        Timestamp::default() + Duration::from_secs(1_000_000) + self.0.elapsed()
    }
}

/// Rises by one a second.
struct Climb {
    ticks: Option<Interval>,
    price: i64,
    clock: Arc<dyn Clock>,
}

fn symbol() -> Symbol {
    "CLIMB".parse().unwrap()
}

fn price(units: i64) -> Price {
    Price::from_micros(units * Price::SCALE).unwrap()
}

#[async_trait]
impl PriceFeed for Climb {
    fn instruments(&self) -> Vec<Quote> {
        vec![Quote { symbol: symbol(), price: price(100), at: self.clock.wall() }]
    }

    async fn next(&mut self) -> Option<Quote> {
        let ticks = self.ticks.get_or_insert_with(|| interval(Duration::from_secs(1)));
        ticks.tick().await;
        self.price += 1;
        Some(Quote { symbol: symbol(), price: price(self.price), at: self.clock.wall() })
    }

    fn place(&self) -> u64 {
        u64::try_from(self.price).unwrap()
    }

    fn go_on_from(&mut self, place: u64, _: &[Quote]) {
        self.price = i64::try_from(place).unwrap();
    }
}

/// The way of one node to the lease, which may be cut.
struct Way {
    lease: Arc<MemoryBank>,
    cut: AtomicBool,
}

impl Way {
    fn open(&self) -> Result<(), StoreError> {
        if self.cut.load(SeqCst) { Err(StoreError::Unavailable("cut".into())) } else { Ok(()) }
    }
}

#[async_trait]
impl Lease for Way {
    async fn take(
        &self,
        name: &str,
        holder: &str,
        lasts: Duration,
    ) -> Result<Option<TakenLease>, StoreError> {
        self.open()?;
        self.lease.take(name, holder, lasts).await
    }

    async fn renew(
        &self,
        name: &str,
        fence: Fence,
        note: &str,
        lasts: Duration,
    ) -> Result<bool, StoreError> {
        self.open()?;
        self.lease.renew(name, fence, note, lasts).await
    }

    async fn release(&self, name: &str, fence: Fence, note: &str) -> Result<(), StoreError> {
        self.open()?;
        self.lease.release(name, fence, note).await
    }
}

/// Between two nodes.
struct Line {
    to: mpsc::UnboundedSender<MarketNews>,
    from: tokio::sync::Mutex<mpsc::UnboundedReceiver<MarketNews>>,
}

#[async_trait]
impl MarketLine for Line {
    async fn tell(&self, news: MarketNews) {
        self.to.send(news).ok();
    }

    async fn hear(&self) -> MarketNews {
        match self.from.lock().await.recv().await {
            Some(news) => news,
            None => std::future::pending().await,
        }
    }
}

/// The positions of all nodes.
#[derive(Default)]
struct Bank {
    open: Mutex<Vec<Position>>,
    closed: Mutex<Vec<Position>>,
}

struct Node {
    market: Arc<Market>,
    shared: Arc<SharedPrices>,
    way: Arc<Way>,
    stop: StopSignal,
}

/// Two nodes, and their bank.
fn two() -> ([Node; 2], Arc<Bank>) {
    let (lease, bank) = (Arc::new(MemoryBank::default()), Arc::new(Bank::default()));
    let clock: Arc<dyn Clock> = Arc::new(VirtualClock(Instant::now()));
    let ((to_b, at_b), (to_a, at_a)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
    let nodes = [(to_b, at_a), (to_a, at_b)].map(|(to, from)| {
        let way = Arc::new(Way { lease: lease.clone(), cut: AtomicBool::new(false) });
        let line = Arc::new(Line { to, from: tokio::sync::Mutex::new(from) });
        let feed = Climb { ticks: None, price: 100, clock: clock.clone() };
        let market = Market::opening_with(feed.instruments()).in_ticks(Duration::from_secs(3));
        let (mut events, mut positions) = (MockEventPublisher::new(), MockPositions::new());
        events.expect_publish().returning(|_| Ok(()));
        let all = bank.clone();
        positions.expect_all_open().returning(move |after, _| {
            let open = all.open.lock().unwrap().clone();
            Ok(if after.is_none() { open } else { Vec::new() })
        });
        let all = bank.clone();
        positions.expect_close_all().returning(move |closings, _| {
            let mut open = all.open.lock().unwrap();
            let close = |Closing { position, .. }: &Closing| {
                let before = open.len();
                open.retain(|one| one.id != position.id);
                if open.len() == before {
                    return Close::AlreadyClosed;
                }
                all.closed.lock().unwrap().push(position.clone());
                Close::Closed(NonZeroU64::MIN)
            };
            Ok(closings.iter().map(close).collect())
        });
        let market = Arc::new(market);
        let trading = Trading::new(TradingParts {
            positions: Arc::new(positions),
            market: market.clone(),
            events: Arc::new(events),
            clock: clock.clone(),
            ids: Arc::new(V7Ids),
            max_open: Trading::MAX_OPEN,
        });
        let second = Duration::from_secs(1);
        let shared = Arc::new(SharedPrices::new(way.clone(), line, "node".into(), second));
        let stop = StopSignal::new();
        let watcher = Arc::new(Watcher::new(trading).shared(shared.clone()));
        tokio::spawn(watcher.run(Box::new(feed), stop.clone()));
        Node { market, shared, way, stop }
    });
    (nodes, bank)
}

fn makers(nodes: &[Node; 2]) -> Vec<usize> {
    (0..2).filter(|node| nodes[*node].shared.makes_prices()).collect()
}

fn shown(node: &Node) -> Price {
    node.market.quote(&symbol()).unwrap().price
}

/// Lets time pass until this node makes prices. Returns how long it took. There are never two.
async fn takes_over(nodes: &[Node; 2], node: usize) -> Duration {
    let (begun, mut last) = (Instant::now(), shown(&nodes[node]));
    loop {
        let makers = makers(nodes);
        assert!(makers.len() < 2, "two make prices");
        let now = shown(&nodes[node]);
        assert!(now >= last, "the price went back from {last} to {now}");
        last = now;
        if makers == [node] {
            return begun.elapsed();
        }
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn another_node_makes_the_prices_within_six_seconds_and_never_two_at_once() {
    let (nodes, _) = two();
    sleep(Duration::from_secs(20)).await;
    let [first] = makers(&nodes)[..] else { panic!("not one maker") };
    let other = 1 - first;
    assert_eq!(shown(&nodes[0]), shown(&nodes[1]));
    let before = shown(&nodes[other]);
    assert!(before >= price(118), "{before}");
    nodes[first].way.cut.store(true, SeqCst);
    let took = takes_over(&nodes, other).await;
    assert!(took <= Duration::from_secs(6), "{took:?}");
    sleep(Duration::from_secs(3)).await;
    assert!(shown(&nodes[other]) > before);
    assert_eq!(shown(&nodes[first]), shown(&nodes[other]), "the first hears the other");
    // One that stops gives it back.
    nodes[first].way.cut.store(false, SeqCst);
    nodes[other].stop.give();
    let took = takes_over(&nodes, first).await;
    assert!(took <= Duration::from_secs(1), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_position_of_which_nobody_told_is_found_and_closed_once_at_the_price_that_crosses_it() {
    let (nodes, bank) = two();
    sleep(Duration::from_secs(10)).await;
    let order = Order {
        symbol: symbol(),
        side: Side::Long,
        quantity: "1".parse().unwrap(),
        stop_loss: None,
        take_profit: Some(price(120)),
    };
    let user: UserId = "ada".parse().unwrap();
    let id = PositionId::new(Uuid::from_u128(1));
    let position = Position::open(id, user, order, shown(&nodes[0]), Timestamp::default()).unwrap();
    bank.open.lock().unwrap().push(position);
    sleep(Duration::from_secs(30)).await;
    let closed = bank.closed.lock().unwrap().clone();
    assert_eq!(closed.len(), 1);
    assert_eq!(closed[0].closed.unwrap().exit_price, price(120));
}

#[tokio::test(start_paused = true)]
async fn prices_are_not_current_while_nobody_makes_them() {
    let (nodes, _) = two();
    sleep(Duration::from_secs(10)).await;
    let clock = VirtualClock(Instant::now() - Duration::from_secs(10));
    for node in &nodes {
        assert!(node.market.is_current(clock.now()));
        node.way.cut.store(true, SeqCst);
    }
    sleep(Duration::from_secs(9)).await;
    for node in &nodes {
        assert!(!node.market.is_current(clock.now()));
    }
}
