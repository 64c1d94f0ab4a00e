//! Tells a backend how notifications ended: batches of outcomes, posted to its URL, signed as the
//! [Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md)
//! specification has it.
//!
//! *Invariant:* delivery never waits for it. An end goes into a bounded queue, and when that is full the oldest
//! is lost, counted and logged. At least once: a batch whose answer was lost comes again, with the same id.

mod client;
mod queue;
mod sign;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use doorstep_domain::Ended;
use doorstep_domain::ports::{Clock, Outcomes};
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::client::{Untaken, WebhookClient};
use self::queue::OutcomeQueue;
pub use self::sign::{Secret, SecretError};
use crate::http::rfc3339;

/// Where outcomes go, and with how much patience.
#[derive(Debug, Clone)]
pub struct WebhookSettings {
    /// The receiver: an `http://` or `https://` URL.
    pub url: String,
    /// Whom to trust over TLS, as certificates in PEM; if nobody is named, whom the machine trusts.
    pub authorities: Option<Vec<u8>>,
    /// What signs.
    pub secret: Secret,
    /// So many outcomes at most in one request.
    pub batch: usize,
    /// So long an outcome waits for others to share its request.
    pub linger: Duration,
    /// So long the receiver may take to answer.
    pub timeout: Duration,
    /// The pause after a batch's first failure; it doubles with each further one.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// So often a batch is tried before it is lost.
    pub attempts: u32,
    /// So many outcomes may wait; beyond them the oldest is lost.
    pub queue: usize,
}

impl WebhookSettings {
    /// Some 15 minutes of patience with a receiver that is away, and room for a hundred thousand outcomes.
    pub fn new(url: String, secret: Secret) -> Self {
        Self {
            url,
            authorities: None,
            secret,
            batch: 500,
            linger: Duration::from_millis(100),
            timeout: Duration::from_secs(10),
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_mins(5),
            attempts: 12,
            queue: 100_000,
        }
    }
}

impl WebhookSettings {
    /// The pause after so many failures of one batch. `dice`, from 0 to 1, shortens it by up to half, so that
    /// many nodes do not come back in one moment. It is not shorter than what the receiver asked for, which
    /// counts up to the longest pause.
    fn pause(&self, failures: u32, dice: f64, asked_for: Option<Duration>) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        let pause = self.first_pause.saturating_mul(doubled).min(self.longest_pause);
        let pause = pause.mul_f64(f64::midpoint(1.0, dice));
        pause.max(asked_for.unwrap_or_default().min(self.longest_pause))
    }
}

/// Why there is no webhook.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The URL is none that can be posted to.
    #[error("it must be an http:// or https:// URL, without a user or a password in it")]
    Url,
    /// What is to be trusted cannot be read.
    #[error(
        "whom to trust must be certificates in PEM: they begin with -----BEGIN CERTIFICATE-----"
    )]
    Authorities,
    /// There is no TLS in which anybody would have to be trusted.
    #[error("only an https:// URL needs certificates of whom to trust")]
    AuthoritiesWithoutTls,
    /// Nobody is to be trusted.
    #[error("this machine trusts nobody: install its CA certificates, or name some of your own")]
    NoAuthorities,
    /// No client could be made.
    #[error("no HTTP client for the webhook: {0}")]
    Client(String),
}

/// The webhook at work.
pub struct Webhook {
    queue: Arc<OutcomeQueue>,
    stopping: CancellationToken,
    worker: std::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Webhook {
    /// Starts its task. Must be called inside a tokio runtime.
    pub fn start(settings: WebhookSettings, clock: Arc<dyn Clock>) -> Result<Self, WebhookError> {
        let client =
            WebhookClient::new(&settings.url, settings.authorities.as_deref(), settings.timeout)?;
        let queue = Arc::new(OutcomeQueue::new(settings.queue));
        let stopping = CancellationToken::new();
        let (taken, stop) = (queue.clone(), stopping.clone());
        let worker = Worker { settings, client, clock, queue: taken, stopping: stop };
        let worker = std::sync::Mutex::new(Some(tokio::spawn(worker.run())));
        Ok(Self { queue, stopping, worker })
    }

    /// How many outcomes were lost: the receiver was away for too long, or too slow.
    pub fn lost(&self) -> u64 {
        self.queue.lost()
    }

    /// Tries once more to send what waits, for at most so long. Call it when nothing ends any more.
    pub async fn stop(&self, within: Duration) {
        self.stopping.cancel();
        let worker = self.worker.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let Some(mut worker) = worker else { return };
        if tokio::time::timeout(within, &mut worker).await.is_err() {
            worker.abort();
            tracing::warn!("the webhook's receiver did not answer before the stop");
        }
        let left = self.queue.give_up();
        if left > 0 {
            tracing::warn!(outcomes = left, "the webhook was not told of all outcomes");
        }
    }
}

#[async_trait]
impl Outcomes for Webhook {
    async fn ended(&self, ended: Vec<Ended>) {
        self.queue.put(ended);
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

/// The body of a request.
#[derive(Serialize)]
struct Message {
    r#type: &'static str,
    timestamp: String,
    data: Data,
}

#[derive(Serialize)]
struct Data {
    notifications: Vec<EndedBody>,
}

#[derive(Serialize)]
struct EndedBody {
    id: String,
    user_id: String,
    kind: String,
    outcome: &'static str,
    ended_at: String,
    waited_ms: u64,
}

impl From<Ended> for EndedBody {
    fn from(Ended { id, user_id, kind, outcome, at, waited }: Ended) -> Self {
        Self {
            id: id.to_string(),
            user_id: user_id.to_string(),
            kind: kind.to_string(),
            outcome: outcome.as_str(),
            ended_at: rfc3339(at),
            waited_ms: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

struct Worker {
    settings: WebhookSettings,
    client: WebhookClient,
    clock: Arc<dyn Clock>,
    queue: Arc<OutcomeQueue>,
    stopping: CancellationToken,
}

impl Worker {
    /// Sends batch after batch, until it is to stop and nothing is left.
    async fn run(self) {
        loop {
            tokio::select! {
                biased;
                () = self.queue.filled() => {}
                () = self.stopping.cancelled() => return,
            }
            if self.queue.len() < self.settings.batch {
                tokio::select! {
                    () = tokio::time::sleep(self.settings.linger) => {}
                    () = self.stopping.cancelled() => {}
                }
            }
            let batch = self.queue.take(self.settings.batch);
            self.deliver(batch).await;
        }
    }

    /// Posts one batch until the receiver has taken it, or it is given up.
    async fn deliver(&self, batch: Vec<Ended>) {
        let count = batch.len();
        let message = Message {
            r#type: "notifications.ended",
            timestamp: rfc3339(self.clock.wall()),
            data: Data { notifications: batch.into_iter().map(EndedBody::from).collect() },
        };
        // Strings and numbers have a JSON form.
        let body = bytes::Bytes::from(serde_json::to_vec(&message).unwrap_or_default());
        let id = format!("msg_{}", Uuid::now_v7().simple());
        for attempt in 1.. {
            let Err(untaken) = self.post(&id, body.clone()).await else { return };
            let Untaken { why, unwanted, retry_after } = untaken;
            let last = attempt >= self.settings.attempts || self.stopping.is_cancelled();
            if last || unwanted {
                self.queue.count_lost(count);
                tracing::error!(%id, outcomes = count, error = %why, attempt, "the webhook did not take a batch; it is lost");
                return;
            }
            let asked_for = retry_after.map(|when| when.from(self.clock.wall()));
            let pause = self.settings.pause(attempt, fastrand::f64(), asked_for);
            tracing::warn!(%id, error = %why, attempt, retry_in = ?pause, "the webhook did not take a batch");
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // One more try, at once.
                () = self.stopping.cancelled() => {}
            }
        }
    }

    async fn post(&self, id: &str, body: bytes::Bytes) -> Result<(), Untaken> {
        let timestamp = self.clock.wall().as_micros().div_euclid(1_000_000);
        let headers = [
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", timestamp.to_string()),
            ("webhook-signature", self.settings.secret.sign(id, timestamp, &body)),
        ];
        self.client.post(headers, body).await
    }
}
