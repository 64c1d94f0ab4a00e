//! Entries that concern only those who read now: barriers, and hints.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use doorstep_domain::ports::{LogUnavailable, RetractReason};
use doorstep_domain::{
    Append, Appended, Expecting, LogKey, NotificationId, Sequence, TokenHash, UserId,
};
use tokio::sync::Notify;

use super::{Cluster, PATIENCE, PAUSE};
use crate::cluster::ClusterEntry;
use crate::delivery::sync::Mutex;

/// How long the log keeps a passing entry: whoever was cut off for longer looks into the inbox for all who are connected
/// ([`Delivery::look_into_inbox`](crate::delivery::Delivery::look_into_inbox)).
const KEPT: Duration = Duration::from_mins(1);
/// How many hints may wait to be appended. Beyond it the oldest are dropped: they make things sooner, not right.
const MOST_HINTS: usize = 10_000;
/// How many hints are appended at once.
const TOGETHER: usize = 64;

/// What other nodes are to be told.
#[derive(Default)]
pub(in crate::delivery) struct Hints {
    waiting: Mutex<VecDeque<ClusterEntry>>,
    bell: Notify,
}

impl Hints {
    /// Other nodes close the connections of this user.
    pub(in crate::delivery) fn hint_to_disconnect(&self, user: UserId) {
        self.hint(ClusterEntry::Disconnect { user });
    }

    /// Other nodes close the connections of this session.
    pub(in crate::delivery) fn hint_at_sign_out(&self, user: UserId, token: TokenHash) {
        self.hint(ClusterEntry::SignedOut { user, token });
    }

    /// Connections at other nodes take away what they may show.
    pub(in crate::delivery) fn hint_to_retract(
        &self,
        user: UserId,
        id: NotificationId,
        reason: RetractReason,
    ) {
        self.hint(ClusterEntry::Retract { user, id, reason: Some(reason) });
    }

    /// These were not appended.
    fn again(&self, failed: Vec<ClusterEntry>) {
        let mut waiting = self.waiting.lock();
        for entry in failed.into_iter().rev() {
            if waiting.len() < MOST_HINTS {
                waiting.push_front(entry);
            }
        }
    }

    fn hint(&self, entry: ClusterEntry) {
        let mut waiting = self.waiting.lock();
        if waiting.back() == Some(&entry) {
            return;
        }
        if waiting.len() >= MOST_HINTS {
            waiting.pop_front();
        }
        waiting.push_back(entry);
        drop(waiting);
        self.bell.notify_one();
    }
}

impl Cluster {
    /// Waits until this node has read everything that was in the log when this was called.
    pub(super) async fn barrier(&self) -> Result<(), LogUnavailable> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let key = self.new_key();
            let mut seen = self.watch(key);
            let why = match self.append_barrier(key).await {
                Ok(_) if seen.for_at_most(PATIENCE).await => return Ok(()),
                Ok(_) => "what is appended does not come by".into(),
                // It may be there.
                Err(_) if seen.for_at_most(PAUSE).await => return Ok(()),
                Err(why) => why,
            };
            if tokio::time::Instant::now() >= deadline {
                return Err(LogUnavailable(why));
            }
            tokio::time::sleep(PAUSE / 10).await;
        }
    }

    /// Appends a barrier, or says why that failed, as far as is known.
    pub(super) async fn append_barrier(&self, key: LogKey) -> Result<Sequence, String> {
        self.pass(key, &ClusterEntry::Barrier { by: self.me }).await
    }

    /// Tells nodes where this user is that there is something new in the user's inbox.
    pub(super) async fn tell_to_look(&self, user: UserId) -> Result<(), String> {
        self.pass(self.new_key(), &ClusterEntry::Look { user }).await.map(drop)
    }

    async fn pass(&self, key: LogKey, entry: &ClusterEntry) -> Result<Sequence, String> {
        match self.append(passing(key, entry)).await {
            Appended::Won(sequence) => Ok(sequence),
            Appended::Lost => Err("its key is taken".into()),
            Appended::Unknown => Err("there was no answer in time".into()),
            Appended::Refused(why) => Err(why.to_string()),
        }
    }

    /// A key for an entry of this node's own, never used before.
    pub(super) fn new_key(&self) -> LogKey {
        let number = self.passed.fetch_add(1, Relaxed);
        let mut bytes = self.me.0;
        bytes[8..].copy_from_slice(&number.to_be_bytes());
        LogKey::passing(bytes)
    }

    /// Whether this node has appended the entry of this key.
    pub(super) fn is_own(&self, key: LogKey) -> bool {
        key.passing_id().is_some_and(|id| id[..8] == self.me.0[..8])
    }

    /// Appends hints until the node stops. While the log is away they wait.
    pub(super) async fn keep_hinting(self: &Arc<Self>) {
        let stop = self.cx.tasks.stop().clone();
        loop {
            let some: Vec<ClusterEntry> = {
                let mut waiting = self.hints.waiting.lock();
                let count = waiting.len().min(TOGETHER);
                waiting.drain(..count).collect()
            };
            if some.is_empty() {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = self.hints.bell.notified() => {}
                }
                continue;
            }
            let appends = some.into_iter().map(|entry| async move {
                let answer = self.append(passing(self.new_key(), &entry)).await;
                // Done twice, a hint does no harm.
                (!matches!(answer, Appended::Won(_))).then_some(entry)
            });
            let failed = futures_util::future::join_all(appends).await;
            let failed: Vec<_> = failed.into_iter().flatten().collect();
            if failed.is_empty() {
                continue;
            }
            self.hints.again(failed);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }
}

fn passing(key: LogKey, entry: &ClusterEntry) -> Append {
    Append { key, expecting: Expecting::Nothing, bytes: entry.encode(), kept: Some(KEPT) }
}
