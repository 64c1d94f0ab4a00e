//! A simulated user and the tabs of their browser.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use doorstep_domain::Price;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_util::sync::CancellationToken;

use super::api::{PAUSE, PlayerApi};
use super::books::{self, Fact};
use super::habit::Habit;
use super::tally::{Tally, count};
use crate::client::{
    ClientConnection, DialError, Protocol, ServerFrame, ServerMessage, ShownNotification,
    websocket_uri,
};

/// How long a user waits at the end for missing popups.
const PATIENCE: Duration = Duration::from_secs(20);

/// A user with this many positions closes one before opening another, so that a long run does not fill the server.
const MOST_OPEN: usize = 20;

/// One simulated user.
pub(super) struct Player {
    name: String,
    url: String,
    patience: Duration,
    habit: Habit,
    dice: fastrand::Rng,
    tally: Arc<Tally>,
    over: CancellationToken,
}

/// The result of a user's final check.
#[derive(Default)]
pub(super) struct PlayerVerdict {
    /// The number of facts for which a popup must have come.
    pub(super) facts: usize,
    /// The facts without a popup.
    pub(super) lost: Vec<String>,
    /// What is wrong with the ledger and the positions.
    pub(super) wrong: Vec<String>,
}

/// The popups that a user has seen, on any connection.
#[derive(Default)]
struct ShownPopups {
    ids: HashSet<String>,
    facts: BTreeSet<Fact>,
}

type SharedPopups = Arc<Mutex<ShownPopups>>;

fn lock(shown: &SharedPopups) -> MutexGuard<'_, ShownPopups> {
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Player {
    pub(super) fn new(
        number: u32,
        seed: u64,
        (url, patience): (&str, Duration),
        tally: Arc<Tally>,
        over: CancellationToken,
    ) -> Self {
        // Names differ from those of another run on the same server.
        let run = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis() % 1_000_000_000;
        Self {
            name: format!("sim-{run}-{number}"),
            url: url.to_owned(),
            patience,
            habit: Habit::of(number),
            dice: fastrand::Rng::with_seed(seed.wrapping_add(u64::from(number))),
            tally,
            over,
        }
    }

    /// Registers, trades until `over`, and makes the final check.
    pub(super) async fn play(mut self) -> anyhow::Result<PlayerVerdict> {
        let api = PlayerApi::register(&self.url, &self.name, self.patience).await?;
        count(&self.tally.users);
        let shown = SharedPopups::default();
        let uri = websocket_uri(&self.url)?;
        let mut tabs = JoinSet::new();
        for _ in 0..self.habit.tabs {
            let tab = PlayerTab {
                api: api.clone(),
                uri: uri.clone(),
                habit: self.habit,
                dice: self.dice.fork(),
                shown: shown.clone(),
                tally: self.tally.clone(),
            };
            tabs.spawn(tab.come_and_go(self.over.clone()));
        }
        self.trade(&api).await?;
        while let Some(tab) = tabs.join_next().await {
            tab.context("a tab panicked")??;
        }
        self.count_up(&api, uri, shown).await
    }

    async fn trade(&mut self, api: &PlayerApi) -> anyhow::Result<()> {
        let mut open: Vec<String> = Vec::new();
        while !self.over.is_cancelled() {
            let pause = Duration::from_millis(self.dice.u64(300..1500));
            if self.over.run_until_cancelled(sleep(pause)).await.is_none() {
                break;
            }
            let closes = self.dice.u8(0..3) == 0 || open.len() >= MOST_OPEN;
            if closes && !open.is_empty() {
                let id = open.swap_remove(self.dice.usize(0..open.len()));
                if api.close(&id).await? {
                    count(&self.tally.closed);
                }
                continue;
            }
            let prices: Vec<_> = api.prices().await?.into_iter().collect();
            let Some((symbol, price)) = self.dice.choice(&prices) else { continue };
            match api.open(&order(symbol, *price, &mut self.dice)).await? {
                Some(position) => {
                    count(&self.tally.opened);
                    open.push(position.id);
                }
                // Not enough money yet, or the price has crossed a trigger since.
                None => count(&self.tally.refused),
            }
        }
        Ok(())
    }

    /// Closes open positions, waits on a last connection for the remaining popups, and reports the missing ones.
    async fn count_up(
        &mut self,
        api: &PlayerApi,
        uri: Uri,
        shown: SharedPopups,
    ) -> anyhow::Result<PlayerVerdict> {
        let over = CancellationToken::new();
        let tab = PlayerTab {
            api: api.clone(),
            uri,
            habit: Habit { connect_after: Duration::ZERO, tabs: 1, ..Habit::of(0) },
            dice: self.dice.fork(),
            shown: shown.clone(),
            tally: self.tally.clone(),
        };
        let last = tokio::spawn(tab.come_and_go(over.clone()));
        for position in api.positions("open").await? {
            if api.close(&position.id).await? {
                count(&self.tally.closed);
            }
        }
        // All users do this at the same time, so it may take a while: as long as something still comes, it is waited for.
        let (mut deadline, mut fewest) = (Instant::now() + PATIENCE, usize::MAX);
        let mut pause = Duration::from_millis(200);
        let verdict = loop {
            // What was read before the deadline says nothing of what came until then.
            let is_last = Instant::now() >= deadline;
            let verdict = self.verdict(api, &shown).await?;
            let missing = verdict.lost.len() + verdict.wrong.len();
            if missing == 0 || is_last {
                break verdict;
            }
            if missing < fewest {
                (fewest, deadline) = (missing, Instant::now() + PATIENCE);
            }
            sleep(pause).await;
            // Reading all books again and again would be most of the load.
            pause = (pause * 2).min(Duration::from_secs(5));
        };
        over.cancel();
        last.await.context("a tab panicked")??;
        Ok(verdict)
    }

    async fn verdict(
        &self,
        api: &PlayerApi,
        shown: &SharedPopups,
    ) -> anyhow::Result<PlayerVerdict> {
        // The balance is read before and after the ledger: if the two differ, neither belongs to this ledger.
        let before = api.balance().await?;
        let (ledger, closed) = (api.ledger().await?, api.positions("closed").await?);
        let open = api.positions("open").await?;
        let balance = api.balance().await?;
        let facts = books::facts(&ledger, &closed);
        let missing =
            facts.difference(&lock(shown).facts).map(|fact| format!("lost: {fact}")).collect();
        let mut wrong = books::findings(balance, &ledger, &open, &closed);
        if before != balance {
            wrong.push("the balance keeps changing".to_owned());
        }
        let wrong = wrong.into_iter().map(|what| format!("{}: {what}", self.name)).collect();
        Ok(PlayerVerdict { facts: facts.len(), lost: missing, wrong })
    }
}

/// An order for about ten in money, with triggers so close that the price soon crosses one.
fn order(symbol: &str, price: Price, dice: &mut fastrand::Rng) -> Value {
    let micros = price.as_micros();
    let near = micros / 1000 * dice.i64(1..8) / 2;
    let trigger = |micros| Price::from_micros(micros).map(|price| price.to_string());
    let (below, above) = (trigger(micros - near.max(1)), trigger(micros + near.max(1)));
    let quantity = i128::from(dice.i64(2..20)) * 1_000_000 * 1_000_000 / i128::from(micros);
    let quantity = i64::try_from(quantity).ok().and_then(doorstep_domain::Quantity::from_micros);
    let quantity = quantity.unwrap_or(doorstep_domain::Quantity::MIN).to_string();
    let (side, stop_loss, take_profit) =
        if dice.bool() { ("long", below, above) } else { ("short", above, below) };
    json!({
        "symbol": symbol, "side": side, "quantity": quantity,
        "stop_loss": stop_loss, "take_profit": take_profit,
    })
}

/// One tab of a user's browser.
struct PlayerTab {
    api: PlayerApi,
    uri: Uri,
    habit: Habit,
    dice: fastrand::Rng,
    shown: SharedPopups,
    tally: Arc<Tally>,
}

impl PlayerTab {
    async fn come_and_go(mut self, over: CancellationToken) -> anyhow::Result<()> {
        let mut away = self.habit.connect_after;
        while over.run_until_cancelled(sleep(away)).await.is_some() {
            let mut connection = self.connect().await?;
            let since = SystemTime::now();
            count(&self.tally.connections);
            count(&self.tally.connected);
            let until = Instant::now() + self.about(self.habit.stays);
            let listen = self.listen(&mut connection, since, until);
            let listened = over.run_until_cancelled(listen).await;
            self.tally.connected.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
            connection.close().await;
            away = match listened {
                // The server has stopped.
                Some(Err(_)) if self.api.bears_restarts() => PAUSE,
                listened => {
                    listened.transpose()?;
                    self.about(self.habit.away)
                }
            };
        }
        Ok(())
    }

    /// Connects, again while the server is away.
    async fn connect(&self) -> Result<ClientConnection, DialError> {
        let until = self.api.gives_up_at();
        loop {
            let connection =
                ClientConnection::open(&self.uri, &self.api.token, self.habit.protocol).await;
            if connection.is_ok() || Instant::now() >= until {
                return connection;
            }
            sleep(PAUSE).await;
        }
    }

    /// A random duration from half to one and a half of `time`.
    fn about(&mut self, time: Duration) -> Duration {
        time / 2 + time.mul_f64(self.dice.f64())
    }

    async fn listen(
        &self,
        connection: &mut ClientConnection,
        since: SystemTime,
        until: Instant,
    ) -> anyhow::Result<()> {
        while let Ok(received) = timeout_at(until, connection.next()).await {
            match received {
                ServerMessage::Frame(ServerFrame::Notification(notification)) => {
                    self.show(&notification, since);
                    if self.habit.protocol == Protocol::Acks {
                        connection.acknowledge(&notification.id).await;
                    }
                }
                ServerMessage::Frame(_) | ServerMessage::Beat => {}
                ServerMessage::Closed(frame) => {
                    anyhow::bail!("the server closed a connection: {frame:?}")
                }
                ServerMessage::Broken(why) => anyhow::bail!("a connection broke: {why}"),
            }
        }
        Ok(())
    }

    fn show(&self, notification: &ShownNotification, since: SystemTime) {
        let now = SystemTime::now();
        let mut seen = lock(&self.shown);
        if !seen.ids.insert(notification.id.clone()) {
            // It was seen in another tab, or on a connection that ended before its acknowledgement arrived.
            count(&self.tally.repeated);
            return;
        }
        seen.facts.insert(fact(notification));
        drop(seen);
        let made = humantime::parse_rfc3339(&notification.created_at).ok();
        let was_there = made.is_some_and(|made| made >= since);
        let from = if was_there { made.unwrap_or(since) } else { since };
        self.tally.popup(was_there, now.duration_since(from).unwrap_or_default());
    }
}

/// The fact that a popup is about.
fn fact(notification: &ShownNotification) -> Fact {
    let payload: Value = serde_json::from_str(notification.payload.get()).unwrap_or_default();
    let text = |name: &str| payload[name].as_str().unwrap_or_default().to_owned();
    match notification.kind.as_str() {
        "reward.granted" => format!("reward.granted {} {}", text("reward"), text("reference")),
        "position.closed" => format!("position.closed {}", text("position_id")),
        other => other.to_owned(),
    }
}
