//! The log between nodes, in one stream of NATS `JetStream`.
//!
//! - **A key is a subject**, and the stream keeps one message per subject. An append names the sequence that must be the
//!   subject's last, and the server compares it (`append.rs`).
//! - **A tail is a consumer of our own** (`tail.rs`): it asks for some messages at a time, so what waits is bounded, and
//!   checks the numbers of what it gets. After every trouble it is created again behind the last entry.
//! - **The stream may not be what it was** (`stream.rs`, `place.rs`): before each new consumer its creation time, its mark,
//!   its last sequence and the entries at our own place are compared.
//!
//! A consumer of the client library would read on by itself after a reconnect, also in a stream that is another one.

mod append;
mod connect;
mod error;
mod market;
mod peers;
mod place;
mod settings;
mod stream;
mod subjects;
mod tail;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::Client;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use async_trait::async_trait;
use doorstep_domain::ports::{Clock, Log, LogTail, LogUnavailable};
use doorstep_domain::{
    Append, Appended, LogClock, LogEntry, LogKey, LogTime, ReadFrom, Sequence, Timestamp,
};
use futures_util::StreamExt as _;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

pub use self::error::NatsError;
pub use self::market::NatsMarketLine;
pub use self::peers::{NatsPeers, NodeReport, NodeStatus};
pub use self::settings::{LogStorage, NatsCredentials, NatsSettings, NatsTls};

use crate::figures::{Latencies, LogFigures};

use self::connect::Link;
use self::stream::{Found, StreamIdentity};
use self::subjects::Subjects;
use self::tail::NatsTail;

/// How many appends may wait for their answers at once.
const APPENDS: usize = 4096;

/// A [`Log`] in a stream of NATS `JetStream`.
///
/// An append returns within two times `answer_within`; its TTL is in whole seconds. [`get`](Log::get) asks the server that
/// leads the stream; at the moment when another takes over, the answer may be older than what a tail has read.
pub struct NatsLog {
    shared: Arc<Shared>,
    leaders: JoinHandle<()>,
}

/// What appends and tails use.
struct Shared {
    client: Client,
    context: Context,
    settings: NatsSettings,
    subjects: Subjects,
    clock: Arc<dyn Clock>,
    link: watch::Receiver<Link>,
    places: Semaphore,
    known: Mutex<Known>,
    appends: Latencies,
    lag: AtomicU64,
}

/// What is known about the log.
struct Known {
    estimate: LogClock,
    identity: StreamIdentity,
    leader: Option<String>,
}

impl NatsLog {
    /// Connects, and creates the stream if there is none.
    pub async fn open(settings: NatsSettings, clock: Arc<dyn Clock>) -> Result<Self, NatsError> {
        if !settings.has_valid_name() {
            return Err(NatsError::BadName);
        }
        let (client, link) = connect::connect(&settings).await?;
        let context = ContextBuilder::new().timeout(settings.answer_within).build(client.clone());
        let subjects = Subjects::new(&settings.name);
        let found = stream::open(&context, &subjects, &settings).await?;
        let estimate = LogClock::default();
        let known = Known { estimate, identity: found.identity, leader: found.leader };
        let shared = Arc::new(Shared {
            client,
            context,
            settings,
            subjects,
            clock,
            link,
            places: Semaphore::new(APPENDS),
            known: Mutex::new(known),
            appends: Latencies::default(),
            lag: AtomicU64::new(0),
        });
        let leaders = tokio::spawn(watch_leaders(shared.clone()));
        Ok(Self { shared, leaders })
    }

    /// What it has cost so far, and how far behind the reader is.
    pub fn figures(&self) -> LogFigures {
        LogFigures { appends: self.shared.appends.counts(), lag: self.shared.lag.load(Relaxed) }
    }
}

impl Drop for NatsLog {
    fn drop(&mut self) {
        self.leaders.abort();
    }
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the server and the stream again.
    async fn look(&self) -> Result<Found, NatsError> {
        let found = stream::open(&self.context, &self.subjects, &self.settings).await?;
        connect::check_server(&self.client)?;
        let mut known = self.known();
        if known.identity != found.identity || known.leader != found.leader {
            known.identity = found.identity.clone();
            known.leader.clone_from(&found.leader);
            known.estimate.start_anew();
        }
        Ok(found)
    }
}

/// Starts the estimate of the log's clock anew whenever another server leads the stream. The message that says so may get
/// lost: then the next round trip shows that the clock is another.
async fn watch_leaders(shared: Arc<Shared>) {
    let subject = format!("$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.{}", shared.subjects.stream);
    match shared.client.subscribe(subject).await {
        Ok(mut elections) => {
            while elections.next().await.is_some() {
                shared.known().estimate.start_anew();
            }
        }
        Err(error) => tracing::warn!(%error, "elections of the log's leader are not seen"),
    }
}

/// From nanoseconds since the epoch.
fn timestamp(nanos: i128) -> Timestamp {
    Timestamp::from_micros(i64::try_from(nanos.div_euclid(1000)).unwrap_or(i64::MAX))
}

#[async_trait]
impl Log for NatsLog {
    async fn append(&self, entry: Append) -> Appended {
        append::append(&self.shared, entry).await
    }

    fn tail(&self, from: ReadFrom) -> Box<dyn LogTail> {
        Box::new(NatsTail::start(self.shared.clone(), from))
    }

    async fn get(&self, key: LogKey) -> Result<Option<LogEntry>, LogUnavailable> {
        let shared = &self.shared;
        if !shared.link.borrow().connected {
            return Err(LogUnavailable("there is no connection to NATS".into()));
        }
        let stream = shared.context.get_stream_no_info(&shared.subjects.stream).await;
        let stream = stream.map_err(|error| LogUnavailable(error.to_string()))?;
        match stream.get_last_raw_message_by_subject(&shared.subjects.of(key)).await {
            Ok(message) => Ok(Some(LogEntry {
                sequence: Sequence(message.sequence),
                key,
                time: timestamp(message.time.unix_timestamp_nanos()),
                bytes: (&*message.payload).into(),
            })),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(LogUnavailable(error.to_string())),
        }
    }

    fn time(&self) -> Option<LogTime> {
        let now = self.shared.clock.now();
        self.shared.known().estimate.at(now)
    }
}
