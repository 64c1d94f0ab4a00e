//! The other nodes of a cluster, asked directly, and only when there is something to ask.
//!
//! Every node says once a second that it is there. A question goes to all of them at once, and is answered when one says
//! yes, when all have answered, or after [`ANSWER_WITHIN`]. None of this is in the log, and nothing is decided by it: it is
//! advice, as every presence is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::{Client, Message};
use async_trait::async_trait;
use doorstep_domain::UserId;
use doorstep_domain::ports::Presence;
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::NatsLog;
use super::connect::Link;

/// How often a node says that it is there.
pub(super) const BEAT: Duration = Duration::from_secs(1);
/// A node that has said nothing for this long is gone.
const GONE_AFTER: Duration = Duration::from_millis(3500);
/// How long an answer is waited for.
const ANSWER_WITHIN: Duration = Duration::from_millis(250);
/// How many questions may be open at once; others wait for a place.
const QUESTIONS: usize = 256;
/// How many other nodes are known at most.
const MOST_NODES: usize = 1000;
/// A longer message is not ours.
const MOST_BYTES: usize = 4096;

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// This run of the node.
    pub id: String,
    /// Where it runs.
    #[serde(default)]
    pub name: String,
    /// The version of its program.
    #[serde(default)]
    pub version: String,
    /// `up_to_date`, `catching_up` or `cut_off`, or what a newer version says.
    #[serde(default)]
    pub status: String,
    /// Entries of the log that it has still to read.
    #[serde(default)]
    pub lag_entries: u64,
    /// It makes the prices of the simulation.
    #[serde(default)]
    pub makes_prices: bool,
    /// It stops.
    #[serde(default)]
    pub leaving: bool,
}

/// How this node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeStatus {
    /// `up_to_date`, `catching_up` or `cut_off`.
    pub word: &'static str,
    /// Entries of the log that it has still to read.
    pub lag_entries: u64,
    /// It makes the prices of the simulation.
    pub makes_prices: bool,
}

/// What is asked of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Asked {
    Online,
    Reading,
}

#[derive(Serialize, Deserialize)]
struct Question {
    from: String,
    asked: Asked,
    user: UserId,
}

#[derive(Serialize, Deserialize)]
struct Answer {
    from: String,
    yes: bool,
}

/// The other nodes. As a [`Presence`] it knows only users who are connected to them.
pub struct NatsPeers {
    client: Client,
    link: watch::Receiver<Link>,
    beats: String,
    questions: String,
    me: NodeReport,
    others: Mutex<BTreeMap<String, (NodeReport, Instant)>>,
    places: Semaphore,
    beat_now: Notify,
    tasks: Mutex<JoinSet<()>>,
}

impl NatsPeers {
    /// The nodes that share this log. Says and hears nothing before [`begin`](Self::begin).
    pub fn of(log: &NatsLog, id: String, name: String) -> Self {
        let shared = &log.shared;
        // Apart from the stream's subjects, so that nothing of this is stored.
        let prefix = format!("doorstep-nodes.{}", shared.settings.name);
        Self {
            client: shared.client.clone(),
            link: shared.link.clone(),
            beats: format!("{prefix}.beat"),
            questions: format!("{prefix}.ask"),
            me: NodeReport {
                id,
                name,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                status: String::new(),
                lag_entries: 0,
                makes_prices: false,
                leaving: false,
            },
            others: Mutex::default(),
            places: Semaphore::new(QUESTIONS),
            beat_now: Notify::new(),
            tasks: Mutex::default(),
        }
    }

    /// Says once a second that this node is there and how it is, hears the others, and answers what they ask about users
    /// who are connected `here`, until this is dropped.
    pub fn begin(
        self: &Arc<Self>,
        here: Arc<dyn Presence>,
        status: impl Fn() -> NodeStatus + Send + Sync + 'static,
    ) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        // They end with it, and must not keep it.
        let (hears, answers, beats) =
            (Arc::downgrade(self), Arc::downgrade(self), Arc::downgrade(self));
        let (client, subject) = (self.client.clone(), self.beats.clone());
        tasks.spawn(each_message(client, subject, move |message| {
            if let Some(this) = hears.upgrade() {
                this.hear(&message);
            }
            std::future::ready(())
        }));
        let (client, subject) = (self.client.clone(), self.questions.clone());
        tasks.spawn(each_message(client, subject, move |message| {
            let (this, here) = (answers.upgrade(), here.clone());
            async move {
                if let Some(this) = this {
                    this.answer(&message, &*here).await;
                }
            }
        }));
        tasks.spawn(async move {
            while let Some(this) = beats.upgrade() {
                let NodeStatus { word, lag_entries, makes_prices } = status();
                let report = NodeReport {
                    status: word.into(),
                    lag_entries,
                    makes_prices,
                    ..this.me.clone()
                };
                this.say(this.beats.clone(), &report).await;
                this.forget_the_gone();
                // Longer than a beat only if this node had no time, which the others should notice.
                timeout(BEAT, this.beat_now.notified()).await.ok();
            }
        });
    }

    /// This node, without its status, and the others that are there, by their ids.
    pub fn nodes(&self) -> (&NodeReport, Vec<NodeReport>) {
        let others = self.others().values().map(|(report, _)| report.clone()).collect();
        (&self.me, others)
    }

    /// Tells the others that this node leaves, so that nobody waits for its answers.
    pub async fn leave(&self) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
        self.say(self.beats.clone(), &NodeReport { leaving: true, ..self.me.clone() }).await;
        timeout(ANSWER_WITHIN, self.client.flush()).await.ok();
    }

    fn others(&self) -> MutexGuard<'_, BTreeMap<String, (NodeReport, Instant)>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is given to a client without a connection would be sent when it has one, perhaps much later.
    async fn say(&self, subject: String, what: &impl Serialize) {
        let Ok(text) = serde_json::to_vec(what) else { return };
        if self.link.borrow().connected {
            timeout(BEAT, self.client.publish(subject, text.into())).await.ok();
        }
    }

    fn hear(&self, message: &Message) {
        let Some(report) = read::<NodeReport>(message) else { return };
        if report.id == self.me.id {
            return;
        }
        let mut others = self.others();
        let NodeReport { id, name, version, .. } = &report;
        if report.leaving {
            if others.remove(id).is_some() {
                tracing::info!(id, name, "a node has left the cluster");
            }
            return;
        }
        if !others.contains_key(id) {
            if others.len() >= MOST_NODES {
                return;
            }
            tracing::info!(id, name, version, "a node has joined the cluster");
            self.beat_now.notify_one();
        }
        others.insert(id.clone(), (report, Instant::now()));
    }

    fn forget_the_gone(&self) {
        self.others().retain(|id, (report, heard)| {
            let is_there = heard.elapsed() < GONE_AFTER;
            if !is_there {
                let name = &report.name;
                tracing::warn!(id, name, "a node of the cluster is gone: it says nothing more");
            }
            is_there
        });
    }

    async fn answer(&self, message: &Message, here: &dyn Presence) {
        let (Some(question), Some(reply)) = (read::<Question>(message), &message.reply) else {
            return;
        };
        if question.from == self.me.id {
            return;
        }
        let yes = match question.asked {
            Asked::Online => here.is_online(&question.user).await,
            Asked::Reading => here.is_reading(&question.user).await,
        };
        let answer = Answer { from: self.me.id.clone(), yes };
        self.say(reply.to_string(), &answer).await;
    }

    /// Whether one of the others says yes.
    async fn ask(&self, asked: Asked, user: &UserId) -> bool {
        if !self.link.borrow().connected || self.others().is_empty() {
            return false;
        }
        timeout(ANSWER_WITHIN, self.ask_all(asked, user)).await.unwrap_or(false)
    }

    async fn ask_all(&self, asked: Asked, user: &UserId) -> bool {
        let Ok(_place) = self.places.acquire().await else { return false };
        let inbox = self.client.new_inbox();
        let Ok(mut answers) = self.client.subscribe(inbox.clone()).await else { return false };
        let question = Question { from: self.me.id.clone(), asked, user: user.clone() };
        let Ok(text) = serde_json::to_vec(&question) else { return false };
        let mut waits_for: Vec<String> = self.others().keys().cloned().collect();
        let asks = self.client.publish_with_reply(self.questions.clone(), inbox, text.into());
        if asks.await.is_err() {
            return false;
        }
        while !waits_for.is_empty() {
            let Some(message) = answers.next().await else { return false };
            let Some(answer) = read::<Answer>(&message) else { continue };
            if answer.yes {
                return true;
            }
            waits_for.retain(|id| *id != answer.from);
        }
        false
    }
}

#[async_trait]
impl Presence for NatsPeers {
    async fn is_online(&self, user: &UserId) -> bool {
        self.ask(Asked::Online, user).await
    }

    async fn is_reading(&self, user: &UserId) -> bool {
        self.ask(Asked::Reading, user).await
    }
}

/// Handles the messages of a subject one after the other, for as long as the client lives.
pub(super) async fn each_message<F: Future<Output = ()> + Send>(
    client: Client,
    subject: String,
    handle: impl Fn(Message) -> F + Send,
) {
    loop {
        match client.subscribe(subject.clone()).await {
            Ok(mut messages) => {
                while let Some(message) = messages.next().await {
                    handle(message).await;
                }
            }
            Err(error) => tracing::warn!(%error, subject, "the other nodes are not heard"),
        }
        tokio::time::sleep(BEAT).await;
    }
}

/// Reads what another node has said, if it is that.
fn read<T: for<'a> Deserialize<'a>>(message: &Message) -> Option<T> {
    read_at_most(message, MOST_BYTES)
}

/// The same, for messages of at most so many bytes.
pub(super) fn read_at_most<T: for<'a> Deserialize<'a>>(
    message: &Message,
    most: usize,
) -> Option<T> {
    let bytes = &message.payload;
    if bytes.len() > most {
        return None;
    }
    match serde_json::from_slice(bytes) {
        Ok(read) => Some(read),
        Err(error) => {
            tracing::debug!(subject = %message.subject, %error, "a message of no node");
            None
        }
    }
}
