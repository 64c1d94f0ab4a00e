//! Publishing: a backend in another process sends notifications, and asks for their outcomes and for a user's
//! presence.
//!
//! | file | contents |
//! | --- | --- |
//! | `draft` | the request of a backend to send a notification |
//! | `judge` | what the fields of a draft must be |
//! | `recall` | takes back what was published |
//! | `records` | what was published and what became of it |
//! | `together` | the drafts of one request |
//! | `keys` | the service keys, which may publish |

mod draft;
mod judge;
mod keys;
mod recall;
mod records;
mod together;

use std::sync::Arc;
use std::time::Duration;

use doorstep_domain::ports::{Clock, ConnectionControl, Ids, Presence, StoreError};
use doorstep_domain::{Notification, NotificationId, Outcome, Ttl, UserId};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use crate::StopSignal;
use crate::delivery::{
    Acceptance, ClusterRecord, Delivery, NotAccepted, Policy, Refused, Strategy,
};

pub use self::draft::{Draft, WantedPolicy};
pub use self::judge::DraftBounds;
pub use self::keys::{KeyRing, ServiceKeys};
pub(crate) use self::recall::Unsent;
use self::records::Begun;
pub use self::records::{Progress, PublishedRecord, PublishedRecords};

/// The operations of a backend. Cheap to clone.
#[derive(Clone)]
pub struct Publishing {
    parts: Arc<PublishingParts>,
}

opaque!(Publishing);

/// The parts of [`Publishing`].
pub struct PublishingParts {
    /// Delivers the notifications.
    pub delivery: Arc<Delivery>,
    /// Knows which users are there.
    pub presence: Arc<dyn Presence>,
    /// Counts and ends the connections of one user.
    pub control: Arc<dyn ConnectionControl>,
    /// What was published. **It must be an observer of `delivery`.**
    pub records: Arc<PublishedRecords>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Makes ids for drafts without one.
    pub ids: Arc<dyn Ids>,
    /// Given when the node stops; ends every wait for outcomes.
    pub stopping: StopSignal,
}

opaque!(PublishingParts);

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

/// The immediate result for one draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// The notification's id: the draft's, or a new one.
    pub id: NotificationId,
    /// The state when it was accepted, or why it was not accepted.
    pub state: Result<Acceptance, Rejection>,
}

/// Why a notification was not accepted. The same draft may be sent again later, with the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rejection {
    /// The user's mailbox is full.
    MailboxFull,
    /// The node is full.
    NodeFull,
    /// The node has no inbox.
    NoInbox,
    /// The inbox cannot be written now.
    InboxAway,
    /// The node is stopping.
    Stopping,
    /// The log that the nodes share is away, or this node has not read it yet. It may have been accepted nevertheless.
    ClusterAway,
    /// The log that the nodes share takes nothing that large.
    TooLarge,
}

impl Rejection {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MailboxFull => "mailbox_full",
            Self::NodeFull => "node_full",
            Self::NoInbox => "no_inbox",
            Self::InboxAway => "inbox_away",
            Self::Stopping => "stopping",
            Self::ClusterAway => "cluster_away",
            Self::TooLarge => "too_large",
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
            Refused::LogAway => Self::ClusterAway,
            Refused::TooLarge => Self::TooLarge,
        }
    }
}

impl Publishing {
    /// The longest wait for an outcome.
    pub const MAX_WAIT: Duration = Duration::from_mins(1);

    /// Builds it from its parts.
    pub fn new(parts: PublishingParts) -> Self {
        Self { parts: Arc::new(parts) }
    }

    /// Sends a draft. A draft whose id was accepted before is not sent again: it gets the result of the first one,
    /// for as long as that is remembered.
    pub async fn publish(&self, draft: Draft) -> Published {
        self.publish_late(draft, Duration::ZERO).await
    }

    /// As [`publish`](Self::publish), for a draft that is this old already: its TTL counts from its beginning. One
    /// that is too old ends at once, as `on_expiry` of its kind says.
    pub async fn publish_late(&self, draft: Draft, age: Duration) -> Published {
        let PublishingParts { delivery, records, clock, ids, .. } = &*self.parts;
        let id = draft.id.unwrap_or_else(|| NotificationId::new(ids.next()));
        let now = clock.now();
        let entry = loop {
            match records.begin(id, &draft.user_id, now) {
                Begun::New(entry) => break entry,
                Begun::Known(answer) => return Published { id, state: Ok(answer) },
                // Another caller is sending the same id now; wait for its result.
                Begun::Busy(answered) => drop(answered.await),
            }
        };
        // It may wait here without a record: taken up from a node that stopped, or so old that its record was
        // removed to make room.
        if let Some(so_far) = draft.id.and_then(|id| delivery.state_of(&draft.user_id, id)) {
            entry.accepted(so_far, now);
            return Published { id, state: Ok(so_far) };
        }
        let mut policy = self.policy_of(&draft);
        let Draft { user_id, kind, topic, payload, mut ttl, trace, sent_by, .. } = draft;
        let rule_ttl = ttl.unwrap_or(delivery.rule_of(&kind).ttl);
        if policy != Policy::Inbox && is_too_old(rule_ttl, age) {
            // The timer ends it, and nobody is pushed it before.
            policy = Policy::Deferred(Strategy::Wake);
            ttl = Some(rule_ttl.max(OVER));
        }
        let created_at = clock.wall_of(now - age);
        let notification =
            Notification { id, user_id, kind, topic, payload, created_at, ttl, trace };
        let state = match delivery.accept_from(sent_by, policy, notification).await {
            Ok(so_far) => Ok(entry.accepted(so_far, clock.now())),
            Err(NotAccepted { why, .. }) => {
                // These two are outcomes. After the others, it counts as never sent.
                if matches!(why, Refused::MailboxFull | Refused::NodeFull) {
                    records.end(id, Outcome::Rejected, clock.now());
                }
                Err(why.into())
            }
        };
        Published { id, state }
    }

    /// Counts a request that was no valid draft.
    pub fn count_invalid(&self) {
        self.parts.delivery.count_invalid();
    }

    /// The policy by which a draft is delivered here.
    pub(crate) fn policy_of(&self, draft: &Draft) -> Policy {
        match (draft.policy, self.parts.delivery.rule_of(&draft.kind).policy) {
            (None, of_kind) | (Some(WantedPolicy::Deferred), of_kind @ Policy::Deferred(_)) => {
                of_kind
            }
            (Some(WantedPolicy::Deferred), _) => Policy::Deferred(Strategy::Wake),
            (Some(WantedPolicy::Immediate), _) => Policy::Immediate,
            (Some(WantedPolicy::Inbox), _) => Policy::Inbox,
        }
    }

    /// Whether this node takes one more notification of this kind and size, as far as its limits go.
    pub(crate) fn has_room(&self, draft: &Draft) -> bool {
        self.parts.delivery.has_room(&draft.kind, draft.payload.as_str().len())
    }

    /// Returns the record of a notification that was published here; `None` if there is none, or none any more.
    pub fn look_up(&self, id: NotificationId) -> Option<PublishedRecord> {
        let clock = &self.parts.clock;
        let mut record = self.parts.records.look_up(id, clock.now())?;
        record.created_at = clock.wall_of(record.created_at);
        if let Progress::Ended(_, at) = &mut record.progress {
            *at = clock.wall_of(*at);
        }
        // The recorded state may be out of date. If the notification is in memory, its current state is known.
        if let Progress::Open(state) = &mut record.progress
            && let Some(now) = self.parts.delivery.state_of(&record.user_id, id)
        {
            *state = now;
        }
        Some(record)
    }

    /// The state of a notification that has not ended, as far as this node knows: one that is not in memory waits in the
    /// inbox.
    pub fn state_of(&self, user: &UserId, id: NotificationId) -> Acceptance {
        self.parts.delivery.state_of(user, id).unwrap_or(Acceptance::Waiting)
    }

    /// Like [`look_up`](Self::look_up); in a cluster also for what other nodes have accepted. Fails if the log of the
    /// cluster is away.
    pub async fn look_up_anywhere(
        &self,
        id: NotificationId,
    ) -> Result<Option<PublishedRecord>, StoreError> {
        if let Some(known) = self.look_up(id) {
            return Ok(Some(known));
        }
        let found = self.parts.delivery.look_up_in_cluster(id).await?;
        Ok(found.map(|ClusterRecord { user_id, created_at, progress }| {
            let progress = match progress {
                Ok(so_far) => Progress::Open(so_far),
                Err((outcome, at)) => Progress::Ended(outcome, at),
            };
            PublishedRecord { user_id, created_at, progress }
        }))
    }

    /// Waits until all of these have ended, or `at_most` (no longer than [`Publishing::MAX_WAIT`]) has passed, or
    /// the node stops.
    pub async fn wait_for(&self, ids: impl IntoIterator<Item = NotificationId>, at_most: Duration) {
        let ended: FuturesUnordered<_> = ids.into_iter().map(|id| self.until_ended(id)).collect();
        tokio::select! {
            biased;
            () = ended.for_each(async |()| {}) => {}
            () = self.parts.stopping.given() => {}
            () = tokio::time::sleep(at_most.min(Self::MAX_WAIT)) => {}
        }
    }

    async fn until_ended(&self, id: NotificationId) {
        if self.parts.records.look_up(id, self.parts.clock.now()).is_some() {
            self.parts.records.wait_until_ended(id).await;
        } else {
            // Another node has accepted it.
            self.parts.delivery.wait_for_end_in_cluster(id).await;
        }
    }

    /// What this node knows of a user.
    pub async fn overview(&self, user: &UserId) -> Result<Overview, StoreError> {
        let (waiting, in_flight) = self.parts.delivery.held_for(user);
        let connections = self.parts.control.count_of(user);
        let online = connections > 0 || self.is_online(user).await;
        let unread = self.parts.delivery.unread(user).await?;
        Ok(Overview { online, connections, waiting, in_flight, unread })
    }

    /// Closes all connections of a user, and returns how many there were at this node. In a cluster the other nodes close
    /// theirs.
    pub fn disconnect(&self, user: &UserId) -> usize {
        self.parts.delivery.disconnect_elsewhere(user);
        self.parts.control.disconnect(user)
    }

    /// Whether a user has a live connection, as far as this node knows.
    pub async fn is_online(&self, user: &UserId) -> bool {
        self.parts.presence.is_online(user).await
    }
}

/// A TTL that has already ended for a draft of this age.
const OVER: Ttl = Ttl::from_secs(1);
/// 'Now or never' allows this long for the way here.
const ON_ITS_WAY: Duration = Duration::from_secs(10);

fn is_too_old(ttl: Ttl, age: Duration) -> bool {
    age >= if ttl.is_zero() { ON_ITS_WAY } else { ttl.as_duration() }
}

#[cfg(test)]
mod tests;
