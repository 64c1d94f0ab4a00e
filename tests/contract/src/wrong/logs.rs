//! Logs: the one in memory, with a flaw.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use doorstep_domain::ports::{Log, LogTail, LogUnavailable};
use doorstep_domain::{
    Append, Appended, Expecting, LogEntry, LogEvent, LogKey, LogTime, ReadFrom, Sequence,
};
use tokio::task::yield_now;

use super::{WrongAdapter, with_flaws};
use crate::log::{LogUnderTest, check_log};
use crate::memory_log::MemoryLogUnderTest;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    IgnoresConditions,
    GetsTheFirst,
    ReadsTwice,
    LooksThenAppends,
    KeepsForEver,
    ReadsFromNow,
    ReadsFromTheStart,
    LosesDroppedCalls,
    RunsAhead,
    CutsWhatIsTooLarge,
    LostWithoutAnAnswer,
    SkipsAfterARestart,
    RepeatsAfterARestart,
    DoesNotResume,
    HidesTheReset,
}

/// What each does, and the promise that it breaks.
const ALL: [(Flaw, &str, &str); 15] = [
    (Flaw::IgnoresConditions, "appends whatever the last entry is", "log condition"),
    (Flaw::GetsTheFirst, "gets the first entry of a key", "log get"),
    (Flaw::ReadsTwice, "reads each entry twice", "log order"),
    (Flaw::LooksThenAppends, "looks at the last entry, and then appends", "log one winner"),
    (Flaw::KeepsForEver, "keeps everything for ever", "log kept"),
    (Flaw::ReadsFromNow, "reads from now on instead of from the start", "log from the start"),
    (Flaw::ReadsFromTheStart, "reads from the start whatever the sequence", "log from a sequence"),
    (Flaw::LosesDroppedCalls, "loses the entry of a call that is dropped", "log dropped call"),
    (Flaw::RunsAhead, "takes the log's clock for an hour ahead", "log time"),
    (Flaw::CutsWhatIsTooLarge, "appends the beginning of what is too large", "log too large"),
    (Flaw::LostWithoutAnAnswer, "returns Lost when there is no answer", "log unanswered"),
    (Flaw::SkipsAfterARestart, "skips an entry after a restart", "log restart"),
    (Flaw::RepeatsAfterARestart, "reads an entry again after a restart", "log restart"),
    (Flaw::DoesNotResume, "does not say that it goes on", "log restart"),
    (Flaw::HidesTheReset, "does not say that the log is another one", "log reset"),
];

pub(super) fn all() -> Vec<WrongAdapter> {
    with_flaws(&ALL, |flaw| async move {
        let inner = MemoryLogUnderTest::default();
        check_log(&Wrong { flaw, inner, state: Arc::default() }).await;
    })
}

/// The log in memory behind a flaw.
struct Wrong {
    flaw: Flaw,
    inner: MemoryLogUnderTest,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    first: HashMap<LogKey, LogEntry>,
    latest: Option<Sequence>,
}

#[async_trait]
impl LogUnderTest for Wrong {
    async fn node(&self) -> Arc<dyn Log> {
        let inner = self.inner.node().await;
        Arc::new(WrongNode { flaw: self.flaw, inner, state: self.state.clone() })
    }

    async fn silence(&self) {
        self.inner.silence().await;
    }

    async fn speak(&self) {
        self.inner.speak().await;
    }

    async fn restart(&self) {
        self.inner.restart().await;
    }

    async fn lose(&self) {
        self.inner.lose().await;
    }
}

struct WrongNode {
    flaw: Flaw,
    inner: Arc<dyn Log>,
    state: Arc<Mutex<State>>,
}

impl WrongNode {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn last(&self, key: LogKey) -> Expecting {
        let last = self.inner.get(key).await.ok().flatten();
        last.map_or(Expecting::Nothing, |entry| Expecting::Sequence(entry.sequence))
    }
}

#[async_trait]
impl Log for WrongNode {
    async fn append(&self, mut entry: Append) -> Appended {
        let key = entry.key;
        match self.flaw {
            Flaw::IgnoresConditions => entry.expecting = self.last(key).await,
            Flaw::LooksThenAppends if self.last(key).await == entry.expecting => {
                yield_now().await;
                entry.expecting = self.last(key).await;
            }
            Flaw::KeepsForEver => entry.kept = None,
            Flaw::CutsWhatIsTooLarge => {
                entry.bytes = entry.bytes.iter().copied().take(1024 * 1024).collect();
            }
            _ => {}
        }
        let appended = self.inner.append(entry).await;
        if let Appended::Won(sequence) = appended {
            let latest = self.state().latest.max(Some(sequence));
            self.state().latest = latest;
        }
        match (self.flaw, appended) {
            (Flaw::LostWithoutAnAnswer, Appended::Unknown) => Appended::Lost,
            (_, appended) => appended,
        }
    }

    fn tail(&self, from: ReadFrom) -> Box<dyn LogTail> {
        let from = match (self.flaw, from, self.state().latest) {
            (Flaw::ReadsFromNow, ReadFrom::Start, Some(latest)) => ReadFrom::After(latest),
            (Flaw::ReadsFromTheStart, ..) => ReadFrom::Start,
            (_, from, _) => from,
        };
        let inner = self.inner.tail(from);
        Box::new(WrongTail {
            flaw: self.flaw,
            inner,
            again: VecDeque::new(),
            last: None,
            skip: false,
        })
    }

    async fn get(&self, key: LogKey) -> Result<Option<LogEntry>, LogUnavailable> {
        let entry = self.inner.get(key).await?;
        let (Flaw::GetsTheFirst, Some(entry)) = (self.flaw, &entry) else { return Ok(entry) };
        let first = self.state().first.entry(key).or_insert_with(|| entry.clone()).clone();
        Ok(Some(first))
    }

    fn time(&self) -> Option<LogTime> {
        let mut time = self.inner.time()?;
        if self.flaw == Flaw::RunsAhead {
            time.at_least = time.at_least + Duration::from_hours(1);
        }
        Some(time)
    }
}

struct WrongTail {
    flaw: Flaw,
    inner: Box<dyn LogTail>,
    /// What is read again.
    again: VecDeque<LogEvent>,
    last: Option<LogEntry>,
    /// Whether the next entry is skipped.
    skip: bool,
}

#[async_trait]
impl LogTail for WrongTail {
    async fn next(&mut self) -> LogEvent {
        if let Some(again) = self.again.pop_front() {
            return again;
        }
        loop {
            let event = self.inner.next().await;
            match (self.flaw, &event) {
                (Flaw::ReadsTwice, LogEvent::Entry(_)) => self.again.push_back(event.clone()),
                (Flaw::LosesDroppedCalls, LogEvent::Entry(_)) => yield_now().await,
                (Flaw::SkipsAfterARestart, LogEvent::Resumed) => self.skip = true,
                (Flaw::SkipsAfterARestart, LogEvent::Entry(_))
                    if std::mem::take(&mut self.skip) =>
                {
                    continue;
                }
                (Flaw::RepeatsAfterARestart, LogEvent::Entry(entry)) => {
                    self.last = Some(entry.clone());
                }
                (Flaw::RepeatsAfterARestart, LogEvent::Resumed) => {
                    self.again.extend(self.last.clone().map(LogEvent::Entry));
                }
                (Flaw::DoesNotResume, LogEvent::Resumed)
                | (Flaw::HidesTheReset, LogEvent::Reset) => continue,
                _ => {}
            }
            return event;
        }
    }
}
