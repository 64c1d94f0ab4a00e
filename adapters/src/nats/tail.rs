use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use async_nats::jetstream::consumer::pull::{BatchConfig, Config};
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy};
use async_nats::{Message, StatusCode, Subscriber, jetstream};
use async_trait::async_trait;
use doorstep_domain::ports::LogTail;
use doorstep_domain::{LogEntry, LogEvent, ReadFrom, Sequence};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::place::Place;
use super::{NatsError, Shared, timestamp};

/// How many messages are asked for at a time, and how many events wait for the reader.
const BATCH: usize = 256;
/// How long the server remembers that we have asked.
const ASKED_FOR: Duration = Duration::from_secs(30);
/// How often the server says that there is nothing.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// After this time without a word from the server the consumer is taken for dead.
const SILENCE: Duration = Duration::from_secs(3);
/// The pause before the next attempt, unless the connection changes first.
const PAUSE: Duration = Duration::from_millis(200);

/// A tail of the stream. A task reads ahead, as far as its queue allows.
pub(super) struct NatsTail {
    events: mpsc::Receiver<LogEvent>,
    reading: JoinHandle<()>,
}

impl NatsTail {
    pub(super) fn start(shared: Arc<Shared>, from: ReadFrom) -> Self {
        let (sender, events) = mpsc::channel(BATCH);
        let place = Place::new(from, shared.known().identity.clone());
        let reading = tokio::spawn(Reader { shared, place, events: sender, cut: None }.run());
        Self { events, reading }
    }
}

impl Drop for NatsTail {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

#[async_trait]
impl LogTail for NatsTail {
    async fn next(&mut self) -> LogEvent {
        match self.events.recv().await {
            Some(event) => event,
            // The task ends only with this tail.
            None => std::future::pending().await,
        }
    }
}

/// Why a consumer is not read any more.
enum Stop {
    /// Nobody reads the events.
    Closed,
    /// It has to be created again.
    Cut(String),
}

impl From<NatsError> for Stop {
    fn from(error: NatsError) -> Self {
        Self::Cut(error.to_string())
    }
}

struct Reader {
    shared: Arc<Shared>,
    place: Place,
    events: mpsc::Sender<LogEvent>,
    /// Why nothing is read, as far as the reader was told.
    cut: Option<String>,
}

impl Reader {
    async fn run(mut self) {
        loop {
            let mut link = self.shared.link.clone();
            link.borrow_and_update();
            let Stop::Cut(reason) = self.read_one_consumer().await else { return };
            if self.cut.as_ref() != Some(&reason) {
                self.cut = Some(reason.clone());
                if self.events.send(LogEvent::CutOff(reason)).await.is_err() {
                    return;
                }
            }
            timeout(PAUSE, link.changed()).await.ok();
        }
    }

    async fn tell(&self, event: LogEvent) -> Result<(), Stop> {
        self.events.send(event).await.map_err(|_| Stop::Closed)
    }

    /// Creates a consumer behind the last entry and reads until something is wrong.
    async fn read_one_consumer(&mut self) -> Stop {
        let mut link = self.shared.link.clone();
        if !link.borrow_and_update().connected {
            return Stop::Cut("there is no connection to NATS".into());
        }
        let read = async {
            let (consumer, inbox, messages) = self.begin().await?;
            Err::<(), Stop>(self.read(&consumer, inbox, messages).await)
        };
        tokio::select! {
            stop = read => stop.err().unwrap_or(Stop::Closed),
            _ = link.changed() => Stop::Cut("the connection to NATS was lost".into()),
        }
    }

    async fn begin(&mut self) -> Result<(Consumer<Config>, String, Subscriber), Stop> {
        let found = self.shared.look().await?;
        let reset = self.place.is_elsewhere(&self.shared, &found).await?;
        if reset {
            // Nothing may come between the event and the change: this future may be dropped at any wait.
            let event = self.events.reserve().await.map_err(|_| Stop::Closed)?;
            self.place.start_again(found.identity);
            self.cut = None;
            event.send(LogEvent::Reset);
        }
        let cut = |error: &dyn std::fmt::Display| Stop::Cut(error.to_string());
        let inbox = self.shared.client.new_inbox();
        let messages =
            self.shared.client.subscribe(inbox.clone()).await.map_err(|error| cut(&error))?;
        let config = Config {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: self.place.after.saturating_add(1),
            },
            ack_policy: AckPolicy::None,
            filter_subject: self.shared.subjects.entries(),
            inactive_threshold: ASKED_FOR,
            num_replicas: 1,
            memory_storage: true,
            ..Config::default()
        };
        let stream = &self.shared.subjects.stream;
        let consumer = self.shared.context.create_consumer_on_stream(config, stream).await;
        let consumer = consumer.map_err(|error| cut(&error))?;
        if self.cut.is_some() {
            self.tell(LogEvent::Resumed).await?;
            self.cut = None;
        }
        Ok((consumer, inbox, messages))
    }

    async fn read(
        &mut self,
        consumer: &Consumer<Config>,
        inbox: String,
        mut messages: Subscriber,
    ) -> Stop {
        let inbox = async_nats::Subject::from(inbox);
        // The numbers of a consumer's messages have no gaps: one that is missing was dropped on the way.
        let mut number = 0;
        loop {
            let ask = BatchConfig {
                batch: BATCH,
                expires: Some(ASKED_FOR),
                idle_heartbeat: HEARTBEAT,
                ..BatchConfig::default()
            };
            if let Err(error) = consumer.request_batch(ask, inbox.clone()).await {
                return Stop::Cut(error.to_string());
            }
            let mut left = BATCH;
            while left > 0 {
                let message = match timeout(SILENCE, messages.next()).await {
                    Ok(Some(message)) => message,
                    Ok(None) => return Stop::Cut("the subscription has ended".into()),
                    Err(_) => return Stop::Cut("the log is silent".into()),
                };
                match message.status {
                    None | Some(StatusCode::OK) => {
                        left -= 1;
                        number += 1;
                        if let Err(stop) = self.take(message, number).await {
                            return stop;
                        }
                    }
                    Some(StatusCode::IDLE_HEARTBEAT) => {}
                    // What we have asked for has come to its end.
                    Some(StatusCode::TIMEOUT) => left = 0,
                    Some(status) => {
                        let text = message.description.unwrap_or_default();
                        return Stop::Cut(format!("the log was not read: {text} ({status})"));
                    }
                }
            }
        }
    }

    /// Passes one message on.
    async fn take(&mut self, message: Message, number: u64) -> Result<(), Stop> {
        let message = jetstream::Message { message, context: self.shared.context.clone() };
        let info =
            message.info().map_err(|error| Stop::Cut(format!("a strange message: {error}")))?;
        if info.consumer_sequence != number || info.stream_sequence <= self.place.after {
            return Err(Stop::Cut("a message is missing".into()));
        }
        self.shared.lag.store(info.pending, Relaxed);
        let nanos = info.published.unix_timestamp_nanos();
        let sequence = Sequence(info.stream_sequence);
        let Some(key) = self.shared.subjects.key(&message.subject) else {
            tracing::warn!(subject = %message.subject, "a message in the log that is not ours");
            self.place.after = sequence.0;
            return Ok(());
        };
        let time = timestamp(nanos);
        let now = self.shared.clock.now();
        self.shared.known().estimate.read(sequence, time, now);
        let entry = LogEntry { sequence, key, time, bytes: (&*message.payload).into() };
        self.tell(LogEvent::Entry(entry)).await?;
        self.place.went_on(sequence.0, nanos, key);
        Ok(())
    }
}
