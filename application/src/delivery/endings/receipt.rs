use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use doorstep_domain::{NotificationId, Outcome};
use foldhash::fast::SeedableRandomState;

use crate::delivery::sync::Mutex;

/// The state of a notification when it was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Acceptance {
    /// It waits for its user, or for its turn.
    Waiting,
    /// It was pushed and is not acknowledged yet.
    InFlight,
    /// It has ended: for example `delivered`, or `expired` with the policy `immediate`.
    Ended(Outcome),
}

impl Acceptance {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::InFlight => "in_flight",
            Self::Ended(outcome) => outcome.as_str(),
        }
    }
}

/// The sender's handle on the outcome of one notification.
///
/// [`state`](Self::state) is known at once; [`outcome`](Self::outcome) waits for the end. Dropping the receipt
/// cancels nothing.
#[must_use = "drop it if the outcome is of no interest"]
pub struct Receipt {
    id: NotificationId,
    state: Acceptance,
    held: Option<Arc<Receipts>>,
}

impl Receipt {
    /// The notification's id.
    pub fn id(&self) -> NotificationId {
        self.id
    }

    /// The state when the notification was accepted.
    pub fn state(&self) -> Acceptance {
        self.state
    }

    /// Waits for the outcome. Returns `None` if the node stops first: another node takes the notification up,
    /// and this one does not learn its outcome.
    ///
    /// For a notification in the inbox, this is the end that this node sees: a read or an acknowledgement on
    /// another node is not seen here.
    pub async fn outcome(self) -> Option<Outcome> {
        if let Acceptance::Ended(outcome) = self.state {
            return Some(outcome);
        }
        let receipts = self.held.as_ref()?;
        poll_fn(|cx| receipts.poll(self.id, cx.waker())).await
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt")
            .field("id", &self.id)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(receipts) = &self.held {
            receipts.forget(self.id);
        }
    }
}

/// The receipts that callers still hold. The callers bound its size: a dropped receipt is removed.
pub(in crate::delivery) struct Receipts {
    shards: [Mutex<Slots>; SHARDS],
}

type Slots = HashMap<NotificationId, Slot, SeedableRandomState>;

const SHARDS: usize = 16;

struct Slot {
    /// How many receipts of this id are held: a sender may send one id twice.
    holders: u32,
    wakers: Vec<Waker>,
    end: End,
}

/// What is known about the end.
#[derive(Clone, Copy)]
enum End {
    Open,
    Known(Outcome),
    /// The node stopped first.
    Unknown,
}

impl Receipts {
    pub(super) fn new() -> Arc<Self> {
        // Senders may choose ids, so the hash is seeded at random.
        let hasher = SeedableRandomState::random();
        let shard = |_| Mutex::new(HashMap::with_hasher(hasher.clone()));
        Arc::new(Self { shards: std::array::from_fn(shard) })
    }

    fn shard(&self, id: NotificationId) -> &Mutex<Slots> {
        // The last byte of a version 7 UUID is random.
        &self.shards[usize::from(id.as_uuid().as_bytes()[15]) % SHARDS]
    }

    /// Opens a receipt. Call it before the notification can end, so that no end is missed.
    pub(in crate::delivery) fn open(self: &Arc<Self>, id: NotificationId) -> Receipt {
        let fresh = || Slot { holders: 0, wakers: Vec::new(), end: End::Open };
        self.shard(id).lock().entry(id).or_insert_with(fresh).holders += 1;
        Receipt { id, state: Acceptance::Waiting, held: Some(self.clone()) }
    }

    /// Sets the receipt's state: the outcome if it is known, and otherwise `so_far`.
    pub(in crate::delivery) fn with_state(
        &self,
        mut receipt: Receipt,
        so_far: Acceptance,
    ) -> Receipt {
        let end = self.shard(receipt.id).lock().get(&receipt.id).map(|slot| slot.end);
        receipt.state = match end {
            Some(End::Known(outcome)) => Acceptance::Ended(outcome),
            _ => so_far,
        };
        receipt
    }

    /// The notification has ended.
    pub(in crate::delivery) fn settle(&self, id: NotificationId, outcome: Outcome) {
        let mut shard = self.shard(id).lock();
        if let Some(slot) = shard.get_mut(&id) {
            slot.end = End::Known(outcome);
            let wakers = std::mem::take(&mut slot.wakers);
            drop(shard);
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    /// The node stops: receipts without an outcome return `None`.
    pub(in crate::delivery) fn close(&self) {
        for shard in &self.shards {
            let mut wakers = Vec::new();
            for slot in shard.lock().values_mut() {
                if matches!(slot.end, End::Open) {
                    slot.end = End::Unknown;
                }
                wakers.append(&mut slot.wakers);
            }
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    fn poll(&self, id: NotificationId, waker: &Waker) -> Poll<Option<Outcome>> {
        let mut shard = self.shard(id).lock();
        let Some(slot) = shard.get_mut(&id) else { return Poll::Ready(None) };
        match slot.end {
            End::Known(outcome) => return Poll::Ready(Some(outcome)),
            End::Unknown => return Poll::Ready(None),
            End::Open => {}
        }
        if !slot.wakers.iter().any(|known| known.will_wake(waker)) {
            slot.wakers.push(waker.clone());
        }
        Poll::Pending
    }

    fn forget(&self, id: NotificationId) {
        let mut shard = self.shard(id).lock();
        if let Some(slot) = shard.get_mut(&id) {
            slot.holders -= 1;
            if slot.holders == 0 {
                shard.remove(&id);
                // A burst must not keep its memory for good.
                if shard.is_empty() && shard.capacity() > 1024 {
                    shard.shrink_to(64);
                }
            }
        }
    }
}
