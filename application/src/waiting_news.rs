//! Notifications of this node's own that the cluster cannot take now: they wait in memory, in order, and are sent when it
//! can.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use doorstep_domain::{Notification, UserId};

use crate::delivery::{Delivery, NotAccepted, Policy, Refused};

/// How many may wait. Beyond it new ones are refused.
const MOST_WAITING: usize = 10_000;
/// The pause before the first is tried again.
const RETRY: Duration = Duration::from_millis(250);

/// Too many wait already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log of the cluster is away, and {MOST_WAITING} notifications wait for it already")]
pub(crate) struct TooManyWait;

/// What waits.
#[derive(Default)]
pub(crate) struct WaitingNews {
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<(Policy, Notification)>,
    /// How many of each user.
    users: HashMap<UserId, usize>,
    is_sending: bool,
}

impl WaitingNews {
    /// Sends a notification, or lets it wait: behind the earlier ones of its user, or while the log is away.
    pub(crate) async fn send(
        self: &Arc<Self>,
        delivery: &Arc<Delivery>,
        policy: Policy,
        n: Notification,
    ) -> Result<(), SendError> {
        if delivery.standing().is_none() {
            delivery.accept(policy, n).await?;
            return Ok(());
        }
        if self.queue().users.contains_key(&n.user_id) {
            return self.wait(delivery, policy, n);
        }
        match delivery.accept(policy, n).await {
            Ok(_) => Ok(()),
            Err(NotAccepted { why: Refused::LogAway, notification }) => {
                self.wait(delivery, policy, *notification)
            }
            Err(refused) => Err(refused.into()),
        }
    }

    fn wait(
        self: &Arc<Self>,
        delivery: &Arc<Delivery>,
        policy: Policy,
        n: Notification,
    ) -> Result<(), SendError> {
        let mut queue = self.queue();
        if queue.waiting.len() >= MOST_WAITING {
            return Err(TooManyWait.into());
        }
        *queue.users.entry(n.user_id.clone()).or_default() += 1;
        queue.waiting.push_back((policy, n));
        if !std::mem::replace(&mut queue.is_sending, true) {
            tracing::warn!("the log of the cluster is away; notifications wait for it");
            tokio::spawn(self.clone().send_all(delivery.clone()));
        }
        Ok(())
    }

    /// Sends what waits, one after the other, until nothing does.
    async fn send_all(self: Arc<Self>, delivery: Arc<Delivery>) {
        let mut sent = 0_u64;
        loop {
            let first = self.queue().waiting.front().cloned();
            let Some((policy, n)) = first else {
                let mut queue = self.queue();
                // Another may have come in between.
                if queue.waiting.is_empty() {
                    queue.is_sending = false;
                    tracing::info!(sent, "sent the notifications that waited for the cluster");
                    return;
                }
                continue;
            };
            let id = n.id;
            match delivery.accept(policy, n).await {
                Ok(_) => sent += 1,
                Err(NotAccepted { why: Refused::LogAway, .. }) => {
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
                Err(refused) => {
                    tracing::warn!(%id, %refused, "a notification that had waited was refused");
                }
            }
            // Only now: until then, later ones of this user come behind it.
            self.queue().forget_first();
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn forget_first(&mut self) {
        let Some((_, n)) = self.waiting.pop_front() else { return };
        if let Some(count) = self.users.get_mut(&n.user_id) {
            *count -= 1;
            if *count == 0 {
                self.users.remove(&n.user_id);
            }
        }
    }
}

/// Why a notification was not sent and does not wait.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// Delivery refuses it.
    #[error(transparent)]
    Refused(#[from] NotAccepted),
    /// There is no room.
    #[error(transparent)]
    TooMany(#[from] TooManyWait),
}
