use async_trait::async_trait;

use crate::Quote;

/// Where prices come from.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait PriceFeed: Send {
    /// What is traded, with the price at which each begins. The same instruments for as long as it lives.
    fn instruments(&self) -> Vec<Quote>;

    /// The next price, once it is due: of an instrument that it named, later than those before it. `None`
    /// when there will be no more.
    ///
    /// The future may be dropped before it is done; the price is then the next call's.
    async fn next(&mut self) -> Option<Quote>;
}
