//! One delivery policy, its server and its clients.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use doorstep_domain::Money;
use indicatif::ProgressBar;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::client::{self, Manner, Story};
use crate::composition::{self, Options};
use crate::config::{Config, DatabaseUrl, PolicyChoice, StrategyChoice};

/// A policy to show.
#[derive(Debug, Clone, Copy)]
pub(super) struct Act {
    pub(super) name: &'static str,
    policy: PolicyChoice,
    strategy: StrategyChoice,
    manner: Manner,
}

/// The result of an act.
pub(super) struct PlayedAct {
    pub(super) act: Act,
    pub(super) stories: Vec<Story>,
    pub(super) presence_checks: u64,
}

/// The welcome gift, which must be every client's final balance.
pub(super) const GIFT: Money = Money::from_minor(1000 * Money::SCALE);

impl Act {
    pub(super) fn all() -> [Self; 5] {
        let act = |name, policy, strategy| Self { name, policy, strategy, manner: Manner::Plain };
        let wake = act("deferred, wake", PolicyChoice::Deferred, StrategyChoice::Wake);
        let cut = Self { name: "deferred, wake; cut before its ack", manner: Manner::Cut, ..wake };
        [
            act("immediate", PolicyChoice::Immediate, StrategyChoice::Wake),
            act("deferred, poll", PolicyChoice::Deferred, StrategyChoice::Poll),
            wake,
            cut,
            act("inbox", PolicyChoice::Inbox, StrategyChoice::Wake),
        ]
    }

    /// Whether a late client must see its popup.
    pub(super) fn promises_popup(self) -> bool {
        self.policy != PolicyChoice::Immediate
    }

    /// Starts a server with this policy, and lets late clients connect to it.
    pub(super) async fn play(
        self,
        database: &Path,
        runs: u16,
        connect_after: Duration,
        bar: &ProgressBar,
    ) -> anyhow::Result<PlayedAct> {
        bar.enable_steady_tick(Duration::from_millis(100));
        bar.set_message(format!("{}: starting a server", self.name));
        let mut config = Config::defaults();
        config.database = DatabaseUrl::new(format!("sqlite://{}", database.display()));
        config.rewards.welcome_gift = GIFT;
        config.delivery.default.policy = self.policy;
        config.delivery.default.strategy = self.strategy;
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port")?;
        let address = listener.local_addr()?;
        let node = composition::start(&config, listener, Options::default()).await?;

        let stories = self.tell(address, runs, connect_after, bar).await;
        let presence_checks = node.presence_checks();
        bar.set_message(format!("{}: stopping its server", self.name));
        node.stop().await;
        Ok(PlayedAct { act: self, stories: stories?, presence_checks })
    }

    async fn tell(
        self,
        server: SocketAddr,
        runs: u16,
        connect_after: Duration,
        bar: &ProgressBar,
    ) -> anyhow::Result<Vec<Story>> {
        let mut clients = JoinSet::new();
        for run in 1..=runs {
            bar.set_message(format!("{}: client {run} of {runs} registers", self.name));
            // One after the other, because the wait for the popup is measured, not the hashing of passwords.
            let client = client::register(server, &format!("visitor-{run}")).await?;
            clients.spawn(client.come_late(connect_after + spread(run, runs), self.manner));
        }
        let mut stories = Vec::new();
        loop {
            let seen = stories.iter().filter(|story: &&Story| story.popup.is_some()).count();
            bar.set_message(format!(
                "{}: {} of {runs} clients done, {seen} popups seen",
                self.name,
                stories.len()
            ));
            match clients.join_next().await {
                Some(story) => stories.push(story.context("a client of the demo panicked")??),
                None => return Ok(stories),
            }
        }
    }
}

/// Clients connect evenly spread over one interval of `poll`. If all of them connected just before or just after a look,
/// the results would be luck.
fn spread(run: u16, runs: u16) -> Duration {
    const POLL_INTERVAL: Duration = Duration::from_millis(500);
    POLL_INTERVAL.mul_f64((f64::from(run) - 0.5) / f64::from(runs))
}

impl PlayedAct {
    /// How long the popups that were seen took, the shortest first.
    pub(super) fn waits(&self) -> Vec<Duration> {
        let mut waits: Vec<Duration> = self.stories.iter().filter_map(|s| s.popup).collect();
        waits.sort();
        waits
    }

    /// The promises that were not kept.
    pub(super) fn broken_promises(&self) -> Vec<String> {
        let name = self.act.name;
        let mut broken = Vec::new();
        for story in &self.stories {
            if story.balance != GIFT {
                broken.push(format!("{name}: a balance is {}, not {GIFT}", story.balance));
            }
            if self.act.promises_popup() && story.popup.is_none() {
                broken.push(format!("{name}: a popup was lost"));
            }
        }
        broken
    }
}
