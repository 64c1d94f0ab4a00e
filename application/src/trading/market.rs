use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use doorstep_domain::ports::{Fence, Tick};
use doorstep_domain::{Quote, Symbol, Timestamp};

/// The current prices. The set of instruments is fixed at the start.
///
/// In a cluster the prices come in ticks from the node that makes them, and count only while the ticks do not stop.
#[derive(Debug)]
pub struct Market {
    /// How old the last tick may be for an order; `None` if the prices do not come in ticks.
    lasts: Option<Duration>,
    state: RwLock<State>,
}

#[derive(Debug)]
struct State {
    quotes: BTreeMap<Symbol, Quote>,
    last: Option<LastTick>,
}

/// The last tick that came.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastTick {
    pub(super) fence: Fence,
    pub(super) number: u64,
    pub(super) place: u64,
    /// On the clock of its maker.
    pub(super) at: Timestamp,
    /// On the timeline of this node.
    came: Timestamp,
}

impl Market {
    /// Creates a market with these opening prices.
    pub fn opening_with(quotes: impl IntoIterator<Item = Quote>) -> Self {
        let quotes = quotes.into_iter().map(|quote| (quote.symbol.clone(), quote)).collect();
        Self { lasts: None, state: RwLock::new(State { quotes, last: None }) }
    }

    /// Its prices come in ticks, and orders are filled only when the last one is not older than this.
    #[must_use]
    pub fn in_ticks(self, lasts: Duration) -> Self {
        Self { lasts: Some(lasts), ..self }
    }

    /// Returns the price of an instrument; `None` if there is no such instrument.
    pub fn quote(&self, symbol: &Symbol) -> Option<Quote> {
        self.read().quotes.get(symbol).cloned()
    }

    /// Returns all prices, ordered by symbol.
    pub fn quotes(&self) -> Vec<Quote> {
        self.read().quotes.values().cloned().collect()
    }

    /// Whether orders can be filled at these prices now.
    pub fn is_current(&self, now: Timestamp) -> bool {
        let Some(lasts) = self.lasts else { return true };
        self.read().last.is_some_and(|last| now.since(last.came) <= lasts)
    }

    /// Sets the current price. Returns false if there is no such instrument.
    pub fn set(&self, quote: Quote) -> bool {
        self.write().set(quote)
    }

    /// Takes a tick that came now. Returns false, and changes nothing, if a later one has come.
    pub fn tick(&self, tick: &Tick, now: Timestamp) -> bool {
        let Tick { fence, number, place, at, .. } = *tick;
        let mut state = self.write();
        if state.last.is_some_and(|last| (last.fence, last.number) >= (fence, number)) {
            return false;
        }
        state.last = Some(LastTick { fence, number, place, at, came: now });
        for quote in &tick.quotes {
            state.set(quote.clone());
        }
        true
    }

    /// Takes prices that an earlier holder of the lease noted, unless a tick that has come is as new. They are not
    /// current.
    pub(super) fn remember(&self, noted: &Tick) {
        let mut state = self.write();
        if state.last.is_some_and(|last| last.number >= noted.number) {
            return;
        }
        let &Tick { fence, number, place, at, .. } = noted;
        state.last = Some(LastTick { fence, number, place, at, came: Timestamp::default() });
        for quote in &noted.quotes {
            state.set(quote.clone());
        }
    }

    pub(super) fn last_tick(&self) -> Option<LastTick> {
        self.read().last
    }

    /// The time on the clock of the maker when it was `now` here; the way of a tick takes no time.
    pub(super) fn at_maker(&self, now: Timestamp) -> Timestamp {
        self.last_tick().map_or(now, |last| last.at + now.since(last.came))
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn set(&mut self, quote: Quote) -> bool {
        match self.quotes.get_mut(&quote.symbol) {
            Some(old) => {
                *old = quote;
                true
            }
            None => false,
        }
    }
}
