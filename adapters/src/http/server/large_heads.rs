use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::watch::Watch;

/// A head that is not complete after this many bytes is large. Most heads have less than 1 KiB; a long token can make
/// one large.
pub(super) const LARGE_BYTES: usize = 8 * 1024;
/// This many connections that have had a large head, and wait for a request or its end, are kept.
const MOST: usize = 256;
/// How many connections are asked whether they can give way.
const ASKED: usize = MOST;

/// The connections that have had a large head. Each keeps a large buffer as long as it lives: ten thousand of them,
/// which need no token, would take 640 MB. A connection whose request is being handled never gives way.
#[derive(Default)]
pub(super) struct LargeHeads {
    oldest_first: Mutex<VecDeque<(u64, LargeHead)>>,
}

pub(super) struct LargeHead {
    pub(super) watch: Arc<Watch>,
    pub(super) give_way: CancellationToken,
}

impl LargeHeads {
    fn locked(&self) -> MutexGuard<'_, VecDeque<(u64, LargeHead)>> {
        self.oldest_first.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection has a large head. If too many have, the one that has been here longest and waits gives way.
    pub(super) fn add(&self, connection: u64, head: LargeHead) {
        let mut heads = self.locked();
        if heads.len() >= MOST {
            for _ in 0..ASKED.min(heads.len()) {
                let Some((id, oldest)) = heads.pop_front() else { break };
                if oldest.watch.waits_since().is_some() {
                    oldest.give_way.cancel();
                    break;
                }
                heads.push_back((id, oldest));
            }
        }
        heads.push_back((connection, head));
    }

    /// The connection has ended.
    pub(super) fn remove(&self, connection: u64) {
        self.locked().retain(|(id, _)| *id != connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(heads: &LargeHeads, id: u64, busy: bool) -> CancellationToken {
        let (watch, give_way) = (Arc::new(Watch::begin()), CancellationToken::new());
        if busy {
            watch.busy();
        }
        heads.add(id, LargeHead { watch, give_way: give_way.clone() });
        give_way
    }

    #[tokio::test]
    async fn the_oldest_that_waits_gives_way_and_one_that_answers_never() {
        let heads = LargeHeads::default();
        let busy = add(&heads, 0, true);
        let waiting: Vec<_> = (1..).take(MOST - 1).map(|id| add(&heads, id, false)).collect();
        assert!(waiting.iter().all(|token| !token.is_cancelled()));
        for count in 1..=10 {
            add(&heads, 1000 + count, false);
            let gave_way = waiting.iter().take_while(|token| token.is_cancelled()).count();
            assert_eq!(u64::try_from(gave_way).unwrap(), count);
            assert!(!busy.is_cancelled());
        }
        assert_eq!(heads.locked().len(), MOST);
        heads.remove(0);
        assert_eq!(heads.locked().len(), MOST - 1);
    }

    #[tokio::test]
    async fn while_all_answer_requests_none_gives_way() {
        let heads = LargeHeads::default();
        let all: Vec<_> = (0..1000).map(|id| add(&heads, id, true)).collect();
        assert!(all.iter().all(|token| !token.is_cancelled()));
    }
}
