//! Publishing: how a backend that is not in this process hands notifications over, asks what became of them,
//! and who is there.
//!
//! | file | what |
//! | --- | --- |
//! | `draft` | what a backend sends, before it is a notification |
//! | `records` | what is remembered of each: its first answer, and how it ended |
//! | `keys` | who may publish |

mod draft;
mod keys;
mod records;

use std::sync::Arc;
use std::time::Duration;

use doorstep_domain::ports::{Clock, ConnectionControl, Ids, Presence, StoreError};
use doorstep_domain::{Notification, NotificationId, Outcome, Topic, UserId};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use crate::delivery::{Acceptance, Delivery, Policy, Recall, Refused, Strategy};

pub use self::draft::{Draft, WantedPolicy};
pub use self::keys::{KeyRing, ServiceKeys};
use self::records::Begun;
pub use self::records::{Progress, PublishedRecord, PublishedRecords};

/// What a backend can do. Cheap to clone.
#[derive(Clone)]
pub struct Publishing {
    parts: PublishingParts,
}

/// What publishing is built from.
#[derive(Clone)]
pub struct PublishingParts {
    /// Where notifications go.
    pub delivery: Arc<Delivery>,
    /// Who is there.
    pub presence: Arc<dyn Presence>,
    /// Counts and ends the connections of one user.
    pub control: Arc<dyn ConnectionControl>,
    /// Remembers; it must be among the outcomes' observers of `delivery`.
    pub records: Arc<PublishedRecords>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Names what comes without a name.
    pub ids: Arc<dyn Ids>,
    /// Cancelled when the node stops: nobody is kept waiting for outcomes then.
    pub stopping: CancellationToken,
}

/// How long a recall waits for an outcome that is being told at this moment.
const ENDING: Duration = Duration::from_secs(2);

/// What a node knows of one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overview {
    /// The user has a connection.
    pub online: bool,
    /// How many connections.
    pub connections: usize,
    /// Notifications that wait in memory.
    pub waiting: usize,
    /// Notifications whose acknowledgement is awaited.
    pub in_flight: usize,
    /// Unread items of the inbox.
    pub unread: u64,
}

/// What became of one draft at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// The notification's id: the draft's, or a new one.
    pub id: NotificationId,
    /// What had happened when it was accepted, or why it was not.
    pub state: Result<Acceptance, Rejection>,
}

/// Why a notification was not accepted. The same draft may be sent again later, with the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rejection {
    /// Its user's mailbox is full.
    MailboxFull,
    /// The node is full.
    NodeFull,
    /// There is no inbox here.
    NoInbox,
    /// The inbox cannot be written to at the moment.
    InboxAway,
    /// The node is stopping.
    Stopping,
}

impl Rejection {
    /// The word for it on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MailboxFull => "mailbox_full",
            Self::NodeFull => "node_full",
            Self::NoInbox => "no_inbox",
            Self::InboxAway => "inbox_away",
            Self::Stopping => "stopping",
        }
    }
}

impl From<Refused> for Rejection {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::MailboxFull => Self::MailboxFull,
            Refused::NodeFull => Self::NodeFull,
            Refused::NoInbox => Self::NoInbox,
            Refused::Store(_) => Self::InboxAway,
            Refused::Stopping => Self::Stopping,
        }
    }
}

impl Publishing {
    /// The longest that an answer is held back until an outcome is known.
    pub const MAX_WAIT: Duration = Duration::from_mins(1);

    /// Puts the parts together.
    pub fn new(parts: PublishingParts) -> Self {
        Self { parts }
    }

    /// Sends what the draft says. A draft whose id was accepted before is not sent again: it gets the answer
    /// that the first one got, for as long as that is remembered.
    pub async fn publish(&self, draft: Draft) -> Published {
        let PublishingParts { delivery, records, clock, ids, .. } = &self.parts;
        let id = draft.id.unwrap_or_else(|| NotificationId::new(ids.next()));
        let now = clock.now();
        let entry = loop {
            match records.begin(id, &draft.user_id, now) {
                Begun::New(entry) => break entry,
                Begun::Known(answer) => return Published { id, state: Ok(answer) },
                // Somebody else is sending the same at this moment, and will know in another one.
                Begun::Busy(answered) => drop(answered.await),
            }
        };
        // It may wait here without being in the records: taken up from a node that stopped, or begun so long ago
        // that the records has no room for it any more.
        if let Some(so_far) = draft.id.and_then(|id| delivery.state_of(&draft.user_id, id)) {
            entry.accepted(so_far, now);
            return Published { id, state: Ok(so_far) };
        }
        let Draft { user_id, kind, topic, payload, ttl, policy, .. } = draft;
        let policy = match (policy, delivery.rule_of(&kind).policy) {
            (None, of_kind) | (Some(WantedPolicy::Deferred), of_kind @ Policy::Deferred(_)) => {
                of_kind
            }
            (Some(WantedPolicy::Deferred), _) => Policy::Deferred(Strategy::Wake),
            (Some(WantedPolicy::Immediate), _) => Policy::Immediate,
            (Some(WantedPolicy::Inbox), _) => Policy::Inbox,
        };
        let created_at = clock.wall_of(now);
        let notification = Notification { id, user_id, kind, topic, payload, created_at, ttl };
        let state = match delivery.send_by(policy, notification).await {
            Ok(receipt) => {
                let so_far = receipt.state();
                entry.accepted(so_far, clock.now());
                Ok(so_far)
            }
            Err(refused) => {
                // Those two are outcomes; the others are as if it had never been sent.
                if matches!(refused, Refused::MailboxFull | Refused::NodeFull) {
                    records.end(id, Outcome::Rejected, clock.now());
                }
                Err(refused.into())
            }
        };
        Published { id, state }
    }

    /// What is known of a notification that was published here; `None` if nothing, or no longer.
    pub fn look_up(&self, id: NotificationId) -> Option<PublishedRecord> {
        let clock = &self.parts.clock;
        let mut record = self.parts.records.look_up(id, clock.now())?;
        record.created_at = clock.wall_of(record.created_at);
        if let Progress::Ended(_, at) = &mut record.progress {
            *at = clock.wall_of(*at);
        }
        // What was answered at first may have changed since; where it is in memory, memory knows.
        if let Progress::Open(state) = &mut record.progress
            && let Some(now) = self.parts.delivery.state_of(&record.user_id, id)
        {
            *state = now;
        }
        Some(record)
    }

    /// Waits until all of these have ended, at most so long ([`Publishing::MAX_WAIT`] at most), and no longer
    /// than this node serves.
    pub async fn wait_for(&self, ids: impl IntoIterator<Item = NotificationId>, at_most: Duration) {
        let ended: FuturesUnordered<_> =
            ids.into_iter().map(|id| self.parts.records.wait_until_ended(id)).collect();
        tokio::select! {
            biased;
            () = ended.for_each(async |()| {}) => {}
            () = self.parts.stopping.cancelled() => {}
            () = tokio::time::sleep(at_most.min(Self::MAX_WAIT)) => {}
        }
    }

    /// Takes back one notification, and returns what is known of it: that it is recalled now, or the outcome that
    /// it had before. `None` if nothing is known. A repeat gets the same.
    pub async fn recall(&self, id: NotificationId) -> Result<Option<Recall>, StoreError> {
        let PublishingParts { delivery, records, clock, .. } = &self.parts;
        if let Some(recall) = delivery.recall(id).await? {
            records.recalled(id, recall.pushed);
            return Ok(Some(recall));
        }
        let known = records.look_up(id, clock.now());
        if known.is_some_and(|record| matches!(record.progress, Progress::Open(_))) {
            // It is ending at this moment.
            self.wait_for([id], ENDING).await;
        }
        let known = records.look_up(id, clock.now());
        Ok(known.and_then(|record| match record.progress {
            Progress::Ended(outcome, _) => {
                let pushed = outcome != Outcome::Rejected && records.was_pushed(id);
                Some(Recall { outcome, pushed })
            }
            Progress::Open(_) => None,
        }))
    }

    /// Takes back everything of this user that has not ended, or everything of one topic. Returns how many.
    pub async fn recall_all(
        &self,
        user: &UserId,
        topic: Option<&Topic>,
    ) -> Result<usize, StoreError> {
        self.parts.delivery.recall_all(user, topic).await
    }

    /// What this node knows of a user.
    pub async fn overview(&self, user: &UserId) -> Result<Overview, StoreError> {
        let (waiting, in_flight) = self.parts.delivery.held_for(user);
        let connections = self.parts.control.count_of(user);
        let online = connections > 0 || self.is_online(user).await;
        let unread = self.parts.delivery.unread(user).await?;
        Ok(Overview { online, connections, waiting, in_flight, unread })
    }

    /// Closes all connections of a user, and returns how many.
    pub fn disconnect(&self, user: &UserId) -> usize {
        self.parts.control.disconnect(user)
    }

    /// Whether a user has a live connection, as far as this node knows.
    pub async fn is_online(&self, user: &UserId) -> bool {
        self.parts.presence.is_online(user).await
    }
}

#[cfg(test)]
mod tests;
