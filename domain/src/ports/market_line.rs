use async_trait::async_trait;

use super::Fence;
use crate::{PositionId, Quote, Symbol, Timestamp, UserId};

/// The way on which the nodes of a cluster tell each other what happens on the market.
///
/// Messages may be lost. Those of one node arrive in order, and a node does not hear its own.
#[async_trait]
pub trait MarketLine: Send + Sync {
    /// Tells all other nodes, if they can be reached now.
    async fn tell(&self, news: MarketNews);

    /// Waits for what another node says. Never called twice at once.
    async fn hear(&self) -> MarketNews;
}

/// What one node tells the others about the market.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MarketNews {
    /// New prices.
    Tick(Tick),
    /// A position was opened at the node that says so.
    Opened {
        /// Its owner.
        user: UserId,
        /// The position.
        id: PositionId,
        /// Prices from then on concern it: on the clock of the node that makes the prices.
        since: Timestamp,
    },
    /// A position was closed at the node that says so.
    Closed {
        /// Its instrument.
        symbol: Symbol,
        /// The position.
        id: PositionId,
    },
}

/// Prices of one moment, from the node that makes them. Without any it still says that this node is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    /// The number of the lease with which it was made.
    pub fence: Fence,
    /// Larger than that of every earlier tick of this lease and of those before it, as far as their holders noted it.
    pub number: u64,
    /// How far the feed is ([`PriceFeed::place`](super::PriceFeed::place)).
    pub place: u64,
    /// When, on the clock of the node that makes the prices.
    pub at: Timestamp,
    /// The new prices.
    pub quotes: Vec<Quote>,
}
