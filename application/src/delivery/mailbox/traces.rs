use std::collections::HashMap;

use doorstep_domain::TraceParent;
use foldhash::fast::RandomState;

/// The traces of entries that belong to one, by their index.
#[derive(Default)]
pub(super) struct Traces(HashMap<u32, TraceParent, RandomState>);

impl Traces {
    pub(super) fn put(&mut self, index: u32, trace: Option<TraceParent>) {
        if let Some(trace) = trace {
            self.0.insert(index, trace);
        }
    }

    pub(super) fn of(&self, index: u32) -> Option<TraceParent> {
        self.0.get(&index).copied()
    }

    pub(super) fn take(&mut self, index: u32) -> Option<TraceParent> {
        let trace = self.0.remove(&index);
        // A burst must not keep its memory for good.
        if self.0.capacity() > 1024 && self.0.len() < self.0.capacity() / 8 {
            self.0.shrink_to(2 * self.0.len());
        }
        trace
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
