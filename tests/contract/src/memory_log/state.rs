use std::collections::{BTreeMap, HashMap};

use doorstep_domain::Timestamp;
use doorstep_domain::{Append, AppendRefusal, Appended, Expecting, LogEntry, LogKey, Sequence};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::EPOCH;

/// What the log holds.
pub(super) struct State {
    started: Instant,
    /// Which log this is: one more after each loss.
    pub(super) incarnation: u64,
    last: u64,
    entries: BTreeMap<Sequence, Stored>,
    last_of: HashMap<LogKey, Sequence>,
    ends: BTreeMap<(Instant, Sequence), LogKey>,
    under_way: BTreeMap<(Instant, u64), UnderWay>,
    sent: u64,
    room: usize,
    ahead_micros: i64,
}

/// An entry, and when it was stored.
pub(super) struct Stored {
    pub(super) entry: LogEntry,
    pub(super) at: Instant,
    ends: Option<Instant>,
}

/// An append that has not arrived.
struct UnderWay {
    append: Append,
    answer: oneshot::Sender<Appended>,
}

impl State {
    pub(super) fn new(started: Instant) -> Self {
        Self {
            started,
            incarnation: 0,
            last: 0,
            entries: BTreeMap::new(),
            last_of: HashMap::new(),
            ends: BTreeMap::new(),
            under_way: BTreeMap::new(),
            sent: 0,
            room: usize::MAX,
            ahead_micros: 0,
        }
    }

    /// Sends an append off. The answer comes from [`settle`](Self::settle).
    pub(super) fn send(&mut self, append: Append, arrives: Instant) -> oneshot::Receiver<Appended> {
        let (answer, answered) = oneshot::channel();
        self.sent += 1;
        self.under_way.insert((arrives, self.sent), UnderWay { append, answer });
        answered
    }

    /// When the next append arrives.
    pub(super) fn next_arrival(&self) -> Option<Instant> {
        self.under_way.keys().next().map(|(at, _)| *at)
    }

    /// Does all that was to happen until now, in the order of time. Returns whether there are new entries.
    pub(super) fn settle(&mut self, now: Instant) -> bool {
        let before = self.last;
        while let Some(next) = self.under_way.first_entry()
            && next.key().0 <= now
        {
            let ((at, _), sent) = next.remove_entry();
            self.expire(at);
            let answer = self.judge(sent.append, at);
            sent.answer.send(answer).ok();
        }
        self.expire(now);
        before != self.last
    }

    fn expire(&mut self, now: Instant) {
        while let Some(next) = self.ends.first_entry()
            && next.key().0 <= now
        {
            let ((_, sequence), key) = next.remove_entry();
            self.entries.remove(&sequence);
            if self.last_of.get(&key) == Some(&sequence) {
                self.last_of.remove(&key);
            }
        }
    }

    fn judge(&mut self, append: Append, at: Instant) -> Appended {
        let last = self.last_of.get(&append.key).copied();
        let expected = match append.expecting {
            Expecting::Nothing => None,
            Expecting::Sequence(sequence) => Some(sequence),
        };
        if last != expected {
            return Appended::Lost;
        }
        if self.entries.len() >= self.room {
            return Appended::Refused(AppendRefusal::Full("its room is used up".into()));
        }
        if let Some(last) = last
            && let Some(old) = self.entries.remove(&last)
            && let Some(ends) = old.ends
        {
            self.ends.remove(&(ends, last));
        }
        self.last += 1;
        let sequence = Sequence(self.last);
        let ends = append.kept.map(|kept| at + kept);
        if let Some(ends) = ends {
            self.ends.insert((ends, sequence), append.key);
        }
        self.last_of.insert(append.key, sequence);
        let time = self.time(at);
        let entry = LogEntry { sequence, key: append.key, time, bytes: append.bytes };
        self.entries.insert(sequence, Stored { entry, at, ends });
        Appended::Won(sequence)
    }

    fn time(&self, at: Instant) -> Timestamp {
        let true_time = EPOCH + at.saturating_duration_since(self.started);
        Timestamp::from_micros(true_time.as_micros() + self.ahead_micros)
    }

    pub(super) fn after(&self, sequence: Sequence) -> Option<&Stored> {
        self.entries.range(Sequence(sequence.0 + 1)..).next().map(|(_, stored)| stored)
    }

    pub(super) fn last_of(&self, key: LogKey) -> Option<&LogEntry> {
        self.last_of.get(&key).and_then(|last| self.entries.get(last)).map(|stored| &stored.entry)
    }

    pub(super) fn last(&self) -> Sequence {
        Sequence(self.last)
    }

    pub(super) fn lose(&mut self) {
        self.incarnation += 1;
        self.last = 0;
        self.entries.clear();
        self.last_of.clear();
        self.ends.clear();
    }

    pub(super) fn set_clock(&mut self, ahead_micros: i64) {
        self.ahead_micros = ahead_micros;
    }

    pub(super) fn set_room(&mut self, entries: usize) {
        self.room = entries;
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}
