use std::collections::VecDeque;

use doorstep_domain::{NotificationId, SentBy, Step, Timestamp, UserId};

/// A step, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Noted {
    pub(super) id: NotificationId,
    pub(super) user: UserId,
    pub(super) at: Timestamp,
    pub(super) step: Step,
}

/// The latest steps, oldest first.
pub(super) struct StepRing {
    steps: VecDeque<Noted>,
    bytes: usize,
    max_steps: usize,
    max_bytes: usize,
    /// The time of the latest step that was forgotten.
    forgotten: Option<Timestamp>,
}

/// By how many places a ring grows, until it is full.
const GROWTH: usize = 64;

impl StepRing {
    pub(super) fn new(max_steps: usize, max_bytes: usize) -> Self {
        let (max_steps, max_bytes) = (max_steps.max(1), max_bytes.max(1));
        Self { steps: VecDeque::new(), bytes: 0, max_steps, max_bytes, forgotten: None }
    }

    /// Adds a step. The oldest ones make room for it.
    pub(super) fn push(&mut self, noted: Noted) {
        let weight = weight(&noted);
        while !self.steps.is_empty()
            && (self.steps.len() >= self.max_steps || self.bytes + weight > self.max_bytes)
        {
            self.forget_oldest();
        }
        // Not by doubling, which would take up to twice the bytes that are allowed.
        if self.steps.len() == self.steps.capacity() {
            self.steps.reserve_exact(GROWTH.min(self.max_steps - self.steps.len()));
        }
        self.bytes += weight;
        self.steps.push_back(noted);
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.steps.pop_front() {
            self.bytes -= weight(&oldest);
            self.forgotten = Some(oldest.at);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Noted> {
        self.steps.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.steps.len()
    }

    /// After this time, every step is remembered; `None` if none was forgotten.
    pub(super) fn forgotten_until(&self) -> Option<Timestamp> {
        self.forgotten
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> (usize, usize) {
        (self.bytes, self.steps.capacity() * size_of::<Noted>())
    }
}

/// The bytes of a step, at most: a name that several steps share counts for each of them.
fn weight(noted: &Noted) -> usize {
    /// A shared string also has two counters.
    const SHARED: usize = 16;
    let names = match &noted.step {
        Step::Received { sent_by, kind, .. } => {
            let key = match sent_by {
                SentBy::Key(name) => SHARED + name.len(),
                _ => 0,
            };
            SHARED + kind.as_str().len() + key
        }
        _ => 0,
    };
    size_of::<Noted>() + noted.user.text_bytes().map_or(0, |bytes| SHARED + bytes) + names
}
