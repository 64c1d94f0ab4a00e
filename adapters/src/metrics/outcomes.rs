use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use async_trait::async_trait;
use doorstep_application::delivery::{KindSlot, Kinds};
use doorstep_domain::ports::Outcomes;
use doorstep_domain::{Ended, Outcome};

use super::read::Sample;
use crate::figures::Latencies;

const OUTCOMES: usize = Outcome::ALL.len();

/// Counts how notifications have ended.
pub(super) struct OutcomeCounts {
    kinds: Arc<Kinds>,
    ended: Box<[[AtomicU64; OUTCOMES]; KindSlot::COUNT]>,
    waits: [Latencies; OUTCOMES],
}

impl OutcomeCounts {
    pub(super) fn new(kinds: Arc<Kinds>) -> Self {
        let of_kind = || [const { AtomicU64::new(0) }; OUTCOMES];
        let ended = Box::new(std::array::from_fn(|_| of_kind()));
        Self { kinds, ended, waits: Default::default() }
    }

    /// Every outcome of every kind that was seen, zeros too: an increase from nothing is not seen as one.
    pub(super) fn ended(&self) -> Vec<Sample> {
        let of_kind = |(slot, kind): (KindSlot, &str)| {
            Outcome::ALL.map(|outcome| {
                let count = self.ended[slot.index()][outcome as usize].load(Relaxed);
                Sample::plain(count)
                    .label("outcome", outcome.as_str())
                    .label("kind", kind.to_owned())
            })
        };
        self.kinds.each().flat_map(of_kind).collect()
    }

    pub(super) fn waits(&self) -> Vec<Sample> {
        let of = |outcome: Outcome| {
            let waits = self.waits[outcome as usize].counts();
            Sample::histogram(waits).label("outcome", outcome.as_str())
        };
        Outcome::ALL.map(of).into()
    }
}

#[async_trait]
impl Outcomes for OutcomeCounts {
    async fn ended(&self, ended: Vec<Ended>) {
        for end in ended {
            let slot = self.kinds.slot_of(&end.kind);
            self.ended[slot.index()][end.outcome as usize].fetch_add(1, Relaxed);
            self.waits[end.outcome as usize].count(end.waited);
        }
    }
}
