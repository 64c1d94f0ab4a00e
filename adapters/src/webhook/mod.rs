//! Tells a backend how notifications ended: batches of outcomes, posted to its URL and signed according to the
//! [Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md)
//! specification.
//!
//! *Invariant:* delivery never waits for the webhook. Outcomes go into a bounded queue; when it is full, the
//! oldest is lost, counted and logged. Delivery to the receiver is at least once: a batch whose response was lost
//! is sent again with the same id.

mod client;
mod queue;
mod sign;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use doorstep_domain::ports::{Chronicle, Clock, Outcomes};
use doorstep_domain::{Ended, NotificationId, Step, TraceParent, UserId};
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::client::{Untaken, WebhookClient};
use self::queue::OutcomeQueue;
pub use self::sign::{Secret, SecretError};
use crate::figures::{Latencies, WebhookFigures};
use crate::http::rfc3339;

/// Where outcomes are sent, and how often it is tried.
#[derive(Debug, Clone)]
pub struct WebhookSettings {
    /// The receiver: an `http://` or `https://` URL.
    pub url: String,
    /// The certificate authorities to trust over TLS, in PEM; `None` for those of this machine.
    pub authorities: Option<Vec<u8>>,
    /// The secret that signs the requests.
    pub secret: Secret,
    /// The most outcomes in one request.
    pub batch: usize,
    /// How long an outcome waits for others to share its request.
    pub linger: Duration,
    /// How long the receiver may take to respond.
    pub timeout: Duration,
    /// The pause after the first failure of a batch; it doubles with each further failure.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// How often a batch is tried before it is lost.
    pub attempts: u32,
    /// How many outcomes may wait; beyond that the oldest is lost.
    pub queue: usize,
}

impl WebhookSettings {
    /// The defaults: a receiver may be away for some 15 minutes, and a hundred thousand outcomes may wait.
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
    /// The pause after this many failures of one batch. `dice`, from 0 to 1, shortens it by up to half, so that
    /// many nodes do not come back at once. It is at least what the receiver asked for, up to the longest pause.
    fn pause(&self, failures: u32, dice: f64, asked_for: Option<Duration>) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        let pause = self.first_pause.saturating_mul(doubled).min(self.longest_pause);
        let pause = pause.mul_f64(f64::midpoint(1.0, dice));
        pause.max(asked_for.unwrap_or_default().min(self.longest_pause))
    }
}

/// Why a webhook cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The URL cannot be posted to.
    #[error("it must be an http:// or https:// URL, without a user or a password in it")]
    Url,
    /// The certificate authorities cannot be read.
    #[error(
        "the certificate authorities must be certificates in PEM, which begin with -----BEGIN CERTIFICATE-----"
    )]
    Authorities,
    /// Authorities were given for a URL without TLS.
    #[error("certificate authorities are only for https:// URLs")]
    AuthoritiesWithoutTls,
    /// This machine has no certificate authorities.
    #[error("this machine has no CA certificates: install them, or name some of your own")]
    NoAuthorities,
    /// No HTTP client could be made.
    #[error("cannot make an HTTP client for the webhook: {0}")]
    Client(String),
}

/// What became of the requests.
#[derive(Default)]
struct Requests {
    accepted: AtomicU64,
    failed: AtomicU64,
    took: Latencies,
}

/// A running webhook.
pub struct Webhook {
    queue: Arc<OutcomeQueue>,
    requests: Arc<Requests>,
    clock: Arc<dyn Clock>,
    stopping: CancellationToken,
    worker: std::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Webhook {
    /// Starts its task. Must be called inside a tokio runtime.
    ///
    /// `chronicle` is told which outcomes the receiver took.
    pub fn start(
        settings: WebhookSettings,
        clock: Arc<dyn Clock>,
        chronicle: Option<Arc<dyn Chronicle>>,
    ) -> Result<Self, WebhookError> {
        let client =
            WebhookClient::new(&settings.url, settings.authorities.as_deref(), settings.timeout)?;
        let queue = Arc::new(OutcomeQueue::new(settings.queue));
        let stopping = CancellationToken::new();
        let requests = Arc::new(Requests::default());
        let worker = Worker {
            settings,
            client,
            clock: clock.clone(),
            queue: queue.clone(),
            requests: requests.clone(),
            chronicle,
            stopping: stopping.clone(),
        };
        let worker = std::sync::Mutex::new(Some(tokio::spawn(worker.run())));
        Ok(Self { queue, requests, clock, stopping, worker })
    }

    /// The number of lost outcomes: the receiver was away for too long, or too slow.
    pub fn lost(&self) -> u64 {
        self.queue.lost()
    }

    /// What is and was sent.
    pub fn figures(&self) -> WebhookFigures {
        let (waiting, oldest) = self.queue.backlog();
        WebhookFigures {
            waiting,
            oldest: oldest.map_or(Duration::ZERO, |oldest| self.clock.wall().since(oldest)),
            lost: self.lost(),
            accepted: self.requests.accepted.load(Relaxed),
            failed: self.requests.failed.load(Relaxed),
            requests: self.requests.took.counts(),
        }
    }

    /// Tries once more to send the waiting outcomes, for at most `within`. Call it after the last notification has
    /// ended.
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
            tracing::warn!(outcomes = left, "some outcomes were not sent to the webhook");
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

/// The body of a request to the receiver.
#[derive(Serialize)]
struct WebhookMessage {
    r#type: &'static str,
    timestamp: String,
    data: WebhookData,
}

#[derive(Serialize)]
struct WebhookData {
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
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
}

impl From<Ended> for EndedBody {
    fn from(Ended { id, user_id, kind, outcome, at, waited, trace }: Ended) -> Self {
        Self {
            id: id.to_string(),
            user_id: user_id.to_string(),
            kind: kind.to_string(),
            outcome: outcome.as_str(),
            ended_at: rfc3339(at),
            waited_ms: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
            traceparent: trace.map(|trace| trace.to_string()),
        }
    }
}

struct Worker {
    settings: WebhookSettings,
    client: WebhookClient,
    clock: Arc<dyn Clock>,
    queue: Arc<OutcomeQueue>,
    requests: Arc<Requests>,
    chronicle: Option<Arc<dyn Chronicle>>,
    stopping: CancellationToken,
}

/// The trace of a request that tells these outcomes: theirs, if they all belong to the same one.
fn common_trace(batch: &[Ended]) -> Option<TraceParent> {
    let first = batch.first()?.trace?;
    batch.iter().all(|ended| ended.trace == Some(first)).then_some(first)
}

impl Worker {
    /// Sends batch after batch until the webhook stops and nothing is left.
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
            self.queue.settled();
        }
    }

    /// Posts one batch until the receiver takes it, or the attempts are used up.
    async fn deliver(&self, batch: Vec<Ended>) {
        let (count, trace) = (batch.len(), common_trace(&batch));
        let whose: Vec<_> = match &self.chronicle {
            Some(_) => batch.iter().map(|ended| (ended.user_id.clone(), ended.id)).collect(),
            None => Vec::new(),
        };
        let message = WebhookMessage {
            r#type: "notifications.ended",
            timestamp: rfc3339(self.clock.wall()),
            data: WebhookData { notifications: batch.into_iter().map(EndedBody::from).collect() },
        };
        // Strings and numbers always have a JSON form.
        let body = bytes::Bytes::from(serde_json::to_vec(&message).unwrap_or_default());
        let id = format!("msg_{}", Uuid::now_v7().simple());
        for attempt in 1.. {
            let Err(untaken) = self.post(&id, trace, body.clone()).await else {
                return self.note(&whose, &Step::Told);
            };
            let Untaken { why, unwanted, retry_after } = untaken;
            let last = attempt >= self.settings.attempts || self.stopping.is_cancelled();
            if last || unwanted {
                self.queue.count_lost(count);
                self.note(&whose, &Step::NotTold);
                tracing::error!(%id, outcomes = count, error = %why, attempt, "the webhook did not accept a batch; it is lost");
                return;
            }
            let asked_for = retry_after.map(|when| when.from(self.clock.wall()));
            let pause = self.settings.pause(attempt, fastrand::f64(), asked_for);
            tracing::warn!(%id, error = %why, attempt, retry_in = ?pause, "the webhook did not accept a batch");
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // One more try, immediately.
                () = self.stopping.cancelled() => {}
            }
        }
    }

    fn note(&self, whose: &[(UserId, NotificationId)], step: &Step) {
        let Some(chronicle) = &self.chronicle else { return };
        for (user, id) in whose {
            chronicle.note(user, *id, step.clone());
        }
    }

    async fn post(
        &self,
        id: &str,
        trace: Option<TraceParent>,
        body: bytes::Bytes,
    ) -> Result<(), Untaken> {
        let timestamp = self.clock.wall().as_micros().div_euclid(1_000_000);
        let headers = [
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", timestamp.to_string()),
            ("webhook-signature", self.settings.secret.sign(id, timestamp, &body)),
        ];
        let trace = trace.map(|trace| ("traceparent", trace.to_string()));
        let begun = Instant::now();
        let posted = self.client.post(headers.into_iter().chain(trace), body).await;
        self.requests.took.count(begun.elapsed());
        let counter = if posted.is_ok() { &self.requests.accepted } else { &self.requests.failed };
        counter.fetch_add(1, Relaxed);
        posted
    }
}
