//! A log in memory, for tests of those who use it and for simulations. Its time is tokio's, which a test may pause.
//!
//! [`MemoryLog`] is the log itself, and [`MemoryNode`] one node's way to it, with the faults of that way: appends that are
//! slow, refused or not answered ([`Fate`]), a tail that lags, a connection that is cut.

mod fate;
mod node;
mod state;
mod tail;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use doorstep_domain::Timestamp;
use doorstep_domain::ports::Log;
use tokio::sync::Notify;
use tokio::time::Instant;

pub use self::fate::Fate;
pub use self::node::MemoryNode;
use self::state::State;
use crate::log::LogUnderTest;

/// The log. Clones are the same log.
#[derive(Clone)]
pub struct MemoryLog {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Wakes the tails, always in the same order, so that a simulation can be repeated.
    changed: Notify,
    started: Instant,
}

/// The time of day when a log begins, on every clock.
const EPOCH: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

impl Shared {
    /// The state as it is now: what was to arrive has arrived, and what was to go has gone.
    fn now(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.settle(Instant::now()) {
            self.changed.notify_waiters();
        }
        state
    }

    /// The time since the beginning, on a clock that nobody has set wrong.
    fn time(&self) -> Timestamp {
        EPOCH + self.started.elapsed()
    }
}

impl Default for MemoryLog {
    fn default() -> Self {
        let started = Instant::now();
        let state = Mutex::new(State::new(started));
        Self { shared: Arc::new(Shared { state, changed: Notify::new(), started }) }
    }
}

impl MemoryLog {
    /// A node's way to the log, without faults.
    pub fn node(&self) -> MemoryNode {
        MemoryNode::new(self.shared.clone())
    }

    /// The log loses everything, as one in memory does when its server starts again. What is under way still arrives.
    pub fn lose(&self) {
        self.shared.now().lose();
        self.shared.changed.notify_waiters();
    }

    /// Sets the log's clock ahead of the true time by this much, or behind it: another machine has become its leader.
    pub fn set_clock(&self, ahead_micros: i64) {
        self.shared.now().set_clock(ahead_micros);
    }

    /// From now on the log takes no more than this many entries.
    pub fn set_room(&self, entries: usize) {
        self.shared.now().set_room(entries);
    }

    /// Whether no append is under way.
    pub fn is_quiet(&self) -> bool {
        self.shared.now().next_arrival().is_none()
    }

    /// How many entries the log holds.
    pub fn len(&self) -> usize {
        self.shared.now().len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The log with the nodes that a contract suite has asked for.
#[derive(Default)]
pub struct MemoryLogUnderTest {
    log: MemoryLog,
    nodes: Mutex<Vec<MemoryNode>>,
}

impl MemoryLogUnderTest {
    fn each(&self, change: impl Fn(&MemoryNode)) {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(change);
    }
}

#[async_trait]
impl LogUnderTest for MemoryLogUnderTest {
    async fn node(&self) -> Arc<dyn Log> {
        let node = self.log.node();
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).push(node.clone());
        Arc::new(node)
    }

    async fn silence(&self) {
        self.each(|node| {
            // What is sent arrives much later, when nobody waits for it any more.
            node.set_fates(|_| Fate { arrives: Some(Duration::from_secs(30)), answered: None });
            node.set_lag(Duration::from_hours(1));
        });
    }

    async fn speak(&self) {
        self.each(|node| {
            node.set_fates(|_| Fate::PROMPT);
            node.set_lag(Duration::ZERO);
        });
    }

    async fn restart(&self) {
        self.each(|node| node.cut(Some("it starts again")));
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.each(|node| node.cut(None));
    }

    async fn lose(&self) {
        self.log.lose();
    }
}

#[cfg(test)]
mod tests {
    use doorstep_domain::{Append, AppendRefusal, Appended, Expecting, LogEvent, ReadFrom};

    use super::*;
    use crate::log::{accept, append, check_log, new_key};

    #[tokio::test(start_paused = true)]
    async fn the_log_in_memory_keeps_the_contract() {
        check_log(&MemoryLogUnderTest::default()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn each_fate_is_what_it_says() {
        let log = MemoryLog::default();
        let node = log.node();
        let try_with = async |fate: Fate| {
            node.set_fates(move |_| fate);
            let key = new_key();
            let answer = node.append(append(key, Expecting::Nothing, "x")).await;
            (answer, node.get(key).await.unwrap().is_some())
        };
        assert_eq!(try_with(Fate::GONE).await, (Appended::Unknown, false));
        assert_eq!(try_with(Fate::UNANSWERED).await, (Appended::Unknown, true));
        assert_eq!(try_with(Fate::LOST_TO_NOBODY).await, (Appended::Lost, false));
        let late = Fate { arrives: Some(Duration::from_secs(20)), answered: None };
        assert_eq!(try_with(late).await, (Appended::Unknown, false));
        assert_eq!(log.len(), 1);
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(log.len(), 2, "it arrives when nobody waits for it");
        assert!(matches!(try_with(Fate::PROMPT).await, (Appended::Won(_), true)));
        log.set_room(3);
        let full = try_with(Fate::PROMPT).await;
        assert!(matches!(full, (Appended::Refused(AppendRefusal::Full(_)), false)), "{full:?}");
        node.cut(Some("gone"));
        let away: Append = append(new_key(), Expecting::Nothing, "x");
        let away = node.append(away).await;
        assert_eq!(away, Appended::Refused(AppendRefusal::Away("gone".into())));
    }

    #[tokio::test(start_paused = true)]
    async fn a_tail_that_lags_reads_later() {
        let log = MemoryLog::default();
        let (writer, reader) = (log.node(), log.node());
        reader.set_lag(Duration::from_secs(3));
        let mut tail = reader.tail(ReadFrom::Start);
        let (key, _) = accept(&writer, "x").await;
        let started = Instant::now();
        let LogEvent::Entry(entry) = tail.next().await else { panic!("no entry") };
        assert_eq!((entry.key, started.elapsed()), (key, Duration::from_secs(3)));
    }

    #[tokio::test(start_paused = true)]
    async fn another_leaders_clock_is_noticed() {
        let log = MemoryLog::default();
        let node = log.node();
        let mut tail = node.tail(ReadFrom::Start);
        for ahead in [5_000_000, -5_000_000, 0] {
            log.set_clock(ahead);
            tokio::time::sleep(Duration::from_secs(1)).await;
            accept(&node, "x").await;
            tail.next().await;
            let time = node.time().unwrap();
            let truth = Timestamp::from_micros(log.shared.time().as_micros() + ahead);
            assert!(time.at_least <= truth && truth <= time.at_most.unwrap_or(Timestamp::MAX));
        }
    }
}
