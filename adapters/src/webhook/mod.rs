//! Tells a backend how notifications ended: batches of outcomes, posted to its URL, signed as the
//! [Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md)
//! specification has it.
//!
//! *Invariant:* delivery never waits for it. An end goes into a bounded queue, and when that is full the oldest
//! is lost, counted and logged. At least once: a batch whose answer was lost comes again, with the same id.

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

use self::queue::Queue;
pub use self::sign::{Secret, SecretError};
use crate::http::wire::rfc3339;

/// Where outcomes go, and with how much patience.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The receiver: an `http://` URL.
    pub url: String,
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

impl Settings {
    /// Some 15 minutes of patience with a receiver that is away, and room for a hundred thousand outcomes.
    pub fn new(url: String, secret: Secret) -> Self {
        Self {
            url,
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

/// Why there is no webhook.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The URL is none that can be posted to.
    #[error(
        "the webhook's URL must be an http:// one (for https://, a proxy on this machine can add TLS)"
    )]
    Url,
    /// No client could be made.
    #[error("no HTTP client for the webhook: {0}")]
    Client(#[source] reqwest::Error),
}

/// The webhook at work.
pub struct Webhook {
    queue: Arc<Queue>,
    stopping: CancellationToken,
    worker: std::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Webhook {
    /// Starts its task. Must be called inside a tokio runtime.
    pub fn start(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, WebhookError> {
        let url: reqwest::Url = settings.url.parse().map_err(|_| WebhookError::Url)?;
        if url.scheme() != "http" {
            return Err(WebhookError::Url);
        }
        let client = reqwest::Client::builder()
            .timeout(settings.timeout)
            // A receiver that has moved says so to its operator, not to whoever listens at the new place.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(WebhookError::Client)?;
        let queue = Arc::new(Queue::new(settings.queue));
        let stopping = CancellationToken::new();
        let worker = Worker {
            settings,
            url,
            client,
            clock,
            queue: queue.clone(),
            stopping: stopping.clone(),
        };
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
    settings: Settings,
    url: reqwest::Url,
    client: reqwest::Client,
    clock: Arc<dyn Clock>,
    queue: Arc<Queue>,
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
            timestamp: rfc3339(self.clock.now()),
            data: Data { notifications: batch.into_iter().map(EndedBody::from).collect() },
        };
        // Strings and numbers have a JSON form.
        let body = bytes::Bytes::from(serde_json::to_vec(&message).unwrap_or_default());
        let id = format!("msg_{}", Uuid::now_v7().simple());
        let mut pause = self.settings.first_pause;
        for attempt in 1.. {
            let why = match self.post(&id, body.clone()).await {
                Ok(()) => return,
                Err(why) => why,
            };
            let last = attempt >= self.settings.attempts || self.stopping.is_cancelled();
            if last {
                self.queue.count_lost(count);
                tracing::error!(%id, outcomes = count, error = %why, attempt, "the webhook did not take a batch; it is lost");
                return;
            }
            tracing::warn!(%id, error = %why, attempt, retry_in = ?pause, "the webhook did not take a batch");
            // Shortened by up to half, so that many nodes do not come back in one moment.
            let jittered = pause.mul_f64(0.5 + fastrand::f64() / 2.0);
            tokio::select! {
                () = tokio::time::sleep(jittered) => {}
                // One more try, at once.
                () = self.stopping.cancelled() => {}
            }
            pause = (pause * 2).min(self.settings.longest_pause);
        }
    }

    async fn post(&self, id: &str, body: bytes::Bytes) -> Result<(), String> {
        let timestamp = self.clock.now().as_micros().div_euclid(1_000_000);
        let signature = self.settings.secret.sign(id, timestamp, &body);
        let response = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(body)
            .send()
            .await
            // The URL may hold a secret of the receiver's.
            .map_err(|e| said(e.without_url()))?;
        match response.status() {
            status if status.is_success() => Ok(()),
            status => Err(format!("it answered {status}")),
        }
    }
}

/// An error and what it comes from, in one line.
fn said(error: reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
