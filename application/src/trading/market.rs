use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use doorstep_domain::{Quote, Symbol};

/// The current prices. The set of instruments is fixed at the start.
#[derive(Debug)]
pub struct Market {
    quotes: RwLock<BTreeMap<Symbol, Quote>>,
}

impl Market {
    /// Creates a market with these opening prices.
    pub fn opening_with(quotes: impl IntoIterator<Item = Quote>) -> Self {
        let quotes = quotes.into_iter().map(|quote| (quote.symbol.clone(), quote)).collect();
        Self { quotes: RwLock::new(quotes) }
    }

    /// Returns the price of an instrument; `None` if there is no such instrument.
    pub fn quote(&self, symbol: &Symbol) -> Option<Quote> {
        self.quotes.read().unwrap_or_else(PoisonError::into_inner).get(symbol).cloned()
    }

    /// Returns all prices, ordered by symbol.
    pub fn quotes(&self) -> Vec<Quote> {
        self.quotes.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Sets the current price. Returns false if there is no such instrument.
    pub fn set(&self, quote: Quote) -> bool {
        let mut quotes = self.quotes.write().unwrap_or_else(PoisonError::into_inner);
        match quotes.get_mut(&quote.symbol) {
            Some(old) => {
                *old = quote;
                true
            }
            None => false,
        }
    }
}
