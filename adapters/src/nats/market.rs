//! Prices and news of positions between nodes, over plain NATS: what is lost is made up for by the next tick, or found in
//! the store.

use std::sync::Arc;

use async_nats::{Client, Message};
use async_trait::async_trait;
use doorstep_domain::ports::{Fence, MarketLine, MarketNews, Tick};
use doorstep_domain::{PositionId, Quote, Symbol, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::NatsLog;
use super::connect::Link;
use super::peers::{BEAT, each_message, read_at_most};

/// How many messages may wait to be heard; beyond it they are lost.
const WAITING: usize = 4096;
/// A longer message is not ours: a tick has some hundred prices.
const MOST_BYTES: usize = 256 * 1024;

/// What one node says.
#[derive(Serialize, Deserialize)]
struct Said {
    from: String,
    news: News,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum News {
    Tick { fence: u64, number: u64, place: u64, at: i64, quotes: Vec<(String, String, i64)> },
    Opened { user: UserId, id: String, since: i64 },
    Closed { symbol: String, id: String },
}

/// A [`MarketLine`] between the nodes that share a log.
pub struct NatsMarketLine {
    client: Client,
    link: watch::Receiver<Link>,
    ticks: String,
    positions: String,
    me: String,
    heard: Mutex<mpsc::Receiver<MarketNews>>,
    _hearing: JoinSet<()>,
}

impl NatsMarketLine {
    /// The line of the nodes that share this log. `id` is that of this node.
    pub fn of(log: &NatsLog, id: String) -> Self {
        let shared = &log.shared;
        let prefix = format!("doorstep-nodes.{}", shared.settings.name);
        let (ticks, positions) = (format!("{prefix}.ticks"), format!("{prefix}.positions"));
        let (says, heard) = mpsc::channel(WAITING);
        let mut hearing = JoinSet::new();
        for subject in [&ticks, &positions] {
            let (says, me) = (says.clone(), Arc::<str>::from(&*id));
            let hear = move |message: Message| {
                let said = read_at_most::<Said>(&message, MOST_BYTES);
                if let Some(news) = said.filter(|said| *said.from != *me).and_then(understand) {
                    says.try_send(news).ok();
                }
                std::future::ready(())
            };
            hearing.spawn(each_message(shared.client.clone(), subject.clone(), hear));
        }
        Self {
            client: shared.client.clone(),
            link: shared.link.clone(),
            ticks,
            positions,
            me: id,
            heard: Mutex::new(heard),
            _hearing: hearing,
        }
    }
}

#[async_trait]
impl MarketLine for NatsMarketLine {
    async fn tell(&self, news: MarketNews) {
        let (subject, news) = match news {
            MarketNews::Tick(Tick { fence, number, place, at, quotes }) => {
                let quote = |Quote { symbol, price, at }: Quote| {
                    (symbol.to_string(), price.to_string(), at.as_micros())
                };
                let quotes = quotes.into_iter().map(quote).collect();
                let at = at.as_micros();
                (&self.ticks, News::Tick { fence: fence.0, number, place, at, quotes })
            }
            MarketNews::Opened { user, id, since } => {
                let since = since.as_micros();
                (&self.positions, News::Opened { user, id: id.to_string(), since })
            }
            MarketNews::Closed { symbol, id } => {
                let (symbol, id) = (symbol.to_string(), id.to_string());
                (&self.positions, News::Closed { symbol, id })
            }
        };
        let Ok(text) = serde_json::to_vec(&Said { from: self.me.clone(), news }) else { return };
        // A client without a connection would send it when it has one: an old price.
        if self.link.borrow().connected {
            timeout(BEAT, self.client.publish(subject.clone(), text.into())).await.ok();
        }
    }

    async fn hear(&self) -> MarketNews {
        match self.heard.lock().await.recv().await {
            Some(news) => news,
            // The tasks that say something live as long as this.
            None => std::future::pending().await,
        }
    }
}

/// `None` for what no node of this version says.
fn understand(said: Said) -> Option<MarketNews> {
    let id = |id: String| id.parse::<PositionId>().ok();
    let symbol = |symbol: String| symbol.parse::<Symbol>().ok();
    Some(match said.news {
        News::Tick { fence, number, place, at, quotes } => {
            let quotes = quotes.into_iter().map(|(name, price, at)| {
                let (symbol, price) = (symbol(name)?, price.parse().ok()?);
                Some(Quote { symbol, price, at: Timestamp::from_micros(at) })
            });
            let (quotes, at) = (quotes.collect::<Option<_>>()?, Timestamp::from_micros(at));
            MarketNews::Tick(Tick { fence: Fence(fence), number, place, at, quotes })
        }
        News::Opened { user, id: position, since } => {
            MarketNews::Opened { user, id: id(position)?, since: Timestamp::from_micros(since) }
        }
        News::Closed { symbol: name, id: position } => {
            MarketNews::Closed { symbol: symbol(name)?, id: id(position)? }
        }
    })
}
