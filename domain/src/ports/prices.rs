use async_trait::async_trait;

use crate::Quote;

/// A source of prices.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait PriceFeed: Send {
    /// Returns the instruments with their opening prices. The set of instruments never changes.
    fn instruments(&self) -> Vec<Quote>;

    /// Waits for the next price and returns it: of one of its instruments, and later than all before it. Returns
    /// `None` when the feed has ended.
    ///
    /// If the future is dropped before it is done, the next call returns that price.
    async fn next(&mut self) -> Option<Quote>;

    /// How far it is: for [`go_on_from`](Self::go_on_from) on another node.
    fn place(&self) -> u64;

    /// Goes on from where the same feed was on another node: from its place and its last prices.
    fn go_on_from(&mut self, place: u64, last: &[Quote]);
}
