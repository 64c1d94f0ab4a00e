use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use doorstep_domain::ports::{Log, LogTail, LogUnavailable};
use doorstep_domain::{
    Append, AppendRefusal, Appended, LogClock, LogEntry, LogKey, LogTime, ReadFrom, Sequence,
    Timestamp,
};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::tail::MemoryTail;
use super::{Fate, Shared};

/// How long an append waits for its answer.
const WAITS: Duration = Duration::from_secs(5);
/// The largest entry.
const MOST_BYTES: usize = 1024 * 1024;

/// One node's way to a [`MemoryLog`](super::MemoryLog). Clones are the same node.
#[derive(Clone)]
pub struct MemoryNode {
    pub(super) log: Arc<Shared>,
    way: Arc<Mutex<Way>>,
}

pub(super) struct Way {
    /// Why nothing comes through.
    pub(super) cut: Option<String>,
    /// How much later than it is stored an entry is read.
    pub(super) lag: Duration,
    fates: Box<dyn FnMut(&Append) -> Fate + Send>,
    pub(super) clock: LogClock,
    ahead_micros: i64,
    /// The last entry when a tail last began to read, or went on after a cut.
    pub(super) reads_since: Sequence,
}

impl MemoryNode {
    pub(super) fn new(log: Arc<Shared>) -> Self {
        let way = Way {
            cut: None,
            lag: Duration::ZERO,
            fates: Box::new(|_| Fate::PROMPT),
            clock: LogClock::default(),
            ahead_micros: 0,
            reads_since: Sequence(0),
        };
        Self { log, way: Arc::new(Mutex::new(way)) }
    }

    pub(super) fn way(&self) -> MutexGuard<'_, Way> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time on the node's timeline.
    pub fn now(&self) -> Timestamp {
        let ahead = self.way().ahead_micros;
        Timestamp::from_micros(self.log.time().as_micros() + ahead)
    }

    /// Sets the node's timeline ahead of the true time by this much, or behind it. To be called before the node is used:
    /// a timeline does not step.
    pub fn set_clock(&self, ahead_micros: i64) {
        self.way().ahead_micros = ahead_micros;
    }

    /// What the last entry was when the node last began to read, or went on after a cut.
    pub fn reads_since(&self) -> Sequence {
        self.way().reads_since
    }

    /// From now on this decides what happens to each append.
    pub fn set_fates(&self, fates: impl FnMut(&Append) -> Fate + Send + 'static) {
        self.way().fates = Box::new(fates);
    }

    /// From now on tails read an entry this much later than it is stored.
    pub fn set_lag(&self, lag: Duration) {
        self.way().lag = lag;
        self.log.changed.notify_waiters();
    }

    /// Cuts the node off for this reason, or connects it again. What is under way still arrives.
    pub fn cut(&self, reason: Option<&str>) {
        self.way().cut = reason.map(str::to_owned);
        self.log.changed.notify_waiters();
    }

    /// Waits until the answer of an append has come back.
    async fn answer(&self, append: Append, fate: Fate) -> Appended {
        let now = Instant::now();
        let answer = match fate.arrives {
            None => Appended::Lost,
            Some(arrives) => {
                let arrives = now + arrives;
                let answered = self.log.now().send(append, arrives);
                sleep_until(arrives).await;
                drop(self.log.now());
                answered.await.unwrap_or(Appended::Unknown)
            }
        };
        match fate.answered {
            Some(back) => tokio::time::sleep(back).await,
            None => std::future::pending().await,
        }
        answer
    }
}

#[async_trait]
impl Log for MemoryNode {
    async fn append(&self, append: Append) -> Appended {
        let (bytes, sent, started) = (append.bytes.len(), self.now(), Instant::now());
        if bytes > MOST_BYTES {
            return Appended::Refused(AppendRefusal::TooLarge { bytes, most: MOST_BYTES });
        }
        let fate = {
            let mut way = self.way();
            if let Some(reason) = &way.cut {
                return Appended::Refused(AppendRefusal::Away(reason.clone()));
            }
            (way.fates)(&append)
        };
        let answer = timeout_at(started + WAITS, self.answer(append, fate)).await;
        let cut = self.way().cut.is_some();
        match answer {
            Ok(answer) if !cut => {
                if let Appended::Won(sequence) = answer {
                    let now = self.now();
                    self.way().clock.appended(sequence, sent, now);
                }
                answer
            }
            _ => Appended::Unknown,
        }
    }

    fn tail(&self, from: ReadFrom) -> Box<dyn LogTail> {
        let last = self.log.now().last();
        self.way().reads_since = last;
        Box::new(MemoryTail::new(self.clone(), from))
    }

    async fn get(&self, key: LogKey) -> Result<Option<LogEntry>, LogUnavailable> {
        if let Some(reason) = &self.way().cut {
            return Err(LogUnavailable(reason.clone()));
        }
        Ok(self.log.now().last_of(key).cloned())
    }

    fn time(&self) -> Option<LogTime> {
        let now = self.now();
        self.way().clock.at(now)
    }
}
