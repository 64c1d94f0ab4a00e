use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use doorstep_domain::ports::{Clock, PriceFeed};
use doorstep_domain::{Quote, Symbol};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{Instrument, Walk};

/// The settings of the simulation.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulationSettings {
    /// The same seed, instruments, interval and speed give the same prices.
    pub seed: u64,
    /// The time between two prices of an instrument.
    pub tick_interval: Duration,
    /// How much faster the market's time passes than real time, so that something happens within minutes.
    pub speed: u32,
    /// The instruments.
    pub instruments: Vec<Instrument>,
}

/// A market that never closes: each instrument [walks](Walk) independently.
pub struct Simulation {
    walks: Vec<(Symbol, Walk)>,
    begin: Vec<Quote>,
    /// The market time between two prices.
    step: Duration,
    tick_interval: Duration,
    ticks: Option<Interval>,
    /// Prices of this tick that have not been taken yet.
    due: VecDeque<Quote>,
    clock: Arc<dyn Clock>,
}

impl Simulation {
    /// A market that opens now.
    pub fn new(settings: &SimulationSettings, clock: Arc<dyn Clock>) -> Self {
        let SimulationSettings { seed, tick_interval, speed, instruments } = settings;
        let at = clock.wall();
        let begin = |instrument: &Instrument| Quote {
            symbol: instrument.symbol.clone(),
            price: instrument.start,
            at,
        };
        let walk =
            |instrument: &Instrument| (instrument.symbol.clone(), Walk::new(instrument, *seed));
        Self {
            begin: instruments.iter().map(begin).collect(),
            walks: instruments.iter().map(walk).collect(),
            step: tick_interval.saturating_mul(*speed),
            tick_interval: (*tick_interval).max(Duration::from_millis(1)),
            ticks: None,
            due: VecDeque::new(),
            clock,
        }
    }
}

#[async_trait]
impl PriceFeed for Simulation {
    fn instruments(&self) -> Vec<Quote> {
        self.begin.clone()
    }

    async fn next(&mut self) -> Option<Quote> {
        if self.walks.is_empty() {
            return None;
        }
        if self.due.is_empty() {
            let ticks = self.ticks.get_or_insert_with(|| {
                let mut ticks = interval(self.tick_interval);
                // A node that was held up does not catch up on missed prices.
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                ticks
            });
            ticks.tick().await;
            let at = self.clock.wall();
            for (symbol, walk) in &mut self.walks {
                let price = walk.after(self.step);
                self.due.push_back(Quote { symbol: symbol.clone(), price, at });
            }
        }
        self.due.pop_front()
    }

    fn place(&self) -> u64 {
        // Only the last prices matter.
        0
    }

    fn go_on_from(&mut self, _: u64, last: &[Quote]) {
        self.due.clear();
        for Quote { symbol, price, .. } in last {
            if let Some((_, walk)) = self.walks.iter_mut().find(|(known, _)| known == symbol) {
                walk.go_on_from(*price);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use doorstep_domain::Timestamp;
    use doorstep_domain::ports::MockClock;

    use super::*;

    fn settings() -> SimulationSettings {
        let instrument = |symbol: &str, start: &str| Instrument {
            symbol: symbol.parse().unwrap(),
            start: start.parse().unwrap(),
            drift: 0.0,
            volatility: 0.5,
        };
        SimulationSettings {
            seed: 7,
            tick_interval: Duration::from_secs(1),
            speed: 60,
            instruments: vec![instrument("A", "10"), instrument("B", "2000")],
        }
    }

    async fn first(count: usize) -> Vec<Quote> {
        let mut clock = MockClock::new();
        clock.expect_now().return_const(Timestamp::default());
        let mut market = Simulation::new(&settings(), Arc::new(clock));
        let begin: Vec<_> = market.instruments().iter().map(|q| q.price.to_string()).collect();
        assert_eq!(begin, ["10.00", "2000.00"]);
        let mut quotes = Vec::new();
        for _ in 0..count {
            quotes.push(market.next().await.unwrap());
        }
        quotes
    }

    #[tokio::test(start_paused = true)]
    async fn every_instrument_gets_a_price_each_tick_and_the_same_again() {
        let began = tokio::time::Instant::now();
        let quotes = first(2 * 100).await;
        assert_eq!(began.elapsed(), Duration::from_secs(99));
        assert_eq!(quotes, first(2 * 100).await);
        let symbols: Vec<_> = quotes.iter().map(|quote| quote.symbol.as_str()).collect();
        assert_eq!(symbols, ["A", "B"].repeat(100));
    }
}
