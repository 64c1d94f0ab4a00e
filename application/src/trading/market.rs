use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use doorstep_domain::{Quote, Symbol};

/// What everything costs now. Its instruments are those that it began with.
#[derive(Debug)]
pub struct Market {
    quotes: RwLock<BTreeMap<Symbol, Quote>>,
}

impl Market {
    /// A market that begins with these prices.
    pub fn opening_with(quotes: impl IntoIterator<Item = Quote>) -> Self {
        let quotes = quotes.into_iter().map(|quote| (quote.symbol.clone(), quote)).collect();
        Self { quotes: RwLock::new(quotes) }
    }

    /// The price of an instrument; `None` if there is no such instrument.
    pub fn quote(&self, symbol: &Symbol) -> Option<Quote> {
        self.quotes.read().unwrap_or_else(PoisonError::into_inner).get(symbol).cloned()
    }

    /// Every price, by symbol.
    pub fn quotes(&self) -> Vec<Quote> {
        self.quotes.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// From now on, this is the price. False if there is no such instrument.
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
