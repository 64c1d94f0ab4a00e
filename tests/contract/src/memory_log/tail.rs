use async_trait::async_trait;
use doorstep_domain::ports::LogTail;
use doorstep_domain::{LogEvent, ReadFrom, Sequence};
use tokio::time::{Instant, sleep_until};

use super::MemoryNode;

/// A reader.
pub(super) struct MemoryTail {
    node: MemoryNode,
    incarnation: u64,
    after: Sequence,
    /// Why it is cut off, as far as it has said so.
    cut: Option<String>,
}

impl MemoryTail {
    pub(super) fn new(node: MemoryNode, from: ReadFrom) -> Self {
        let after = match from {
            ReadFrom::Start => Sequence(0),
            ReadFrom::After(sequence) => sequence,
        };
        let incarnation = node.log.now().incarnation;
        Self { node, incarnation, after, cut: None }
    }

    /// The next event, or until when there is none if nothing changes.
    fn look(&mut self) -> Result<LogEvent, Option<Instant>> {
        let (now, time) = (Instant::now(), self.node.now());
        let state = self.node.log.now();
        let mut way = self.node.way();
        if way.cut.is_some() {
            if self.cut == way.cut {
                return Err(None);
            }
            self.cut.clone_from(&way.cut);
            return Ok(LogEvent::CutOff(self.cut.clone().unwrap_or_default()));
        }
        let was_cut = self.cut.take().is_some();
        if state.incarnation != self.incarnation {
            self.incarnation = state.incarnation;
            self.after = Sequence(0);
            way.clock.start_anew();
            return Ok(LogEvent::Reset);
        }
        if was_cut {
            way.reads_since = state.last();
            return Ok(LogEvent::Resumed);
        }
        let Some(next) = state.after(self.after) else { return Err(state.next_arrival()) };
        let visible = next.at + way.lag;
        if visible > now {
            return Err(Some(state.next_arrival().map_or(visible, |next| next.min(visible))));
        }
        self.after = next.entry.sequence;
        way.clock.read(next.entry.sequence, next.entry.time, time);
        Ok(LogEvent::Entry(next.entry.clone()))
    }
}

#[async_trait]
impl LogTail for MemoryTail {
    async fn next(&mut self) -> LogEvent {
        let log = self.node.log.clone();
        loop {
            let mut changed = std::pin::pin!(log.changed.notified());
            changed.as_mut().enable();
            let until = match self.look() {
                Ok(event) => return event,
                Err(until) => until,
            };
            let timer = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = changed => {}
                () = timer => {}
            }
        }
    }
}
