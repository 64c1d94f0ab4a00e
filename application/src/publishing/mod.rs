//! Publishing: how a backend that is not in this process hands notifications over, asks what became of them,
//! and who is there.
//!
//! | file | what |
//! | --- | --- |
//! | `draft` | what a backend sends, before it is a notification |
//! | `book` | what is remembered of each: its first answer, and how it ended |
//! | `judge` | what its fields must be |
//! | `keys` | who may publish |

mod book;
mod draft;
mod judge;
mod keys;

use std::sync::Arc;
use std::time::Duration;

use doorstep_domain::ports::{Clock, Ids, Presence};
use doorstep_domain::{Notification, NotificationId, Outcome, Ttl, UserId};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use crate::delivery::{Acceptance, Delivery, Policy, Refused, Strategy};

use self::book::Begun;
pub use self::book::{Book, Progress, Record};
pub use self::draft::{Draft, WantedPolicy};
pub use self::judge::DraftBounds;
pub use self::keys::{KeyRing, ServiceKeys};

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
    /// Remembers; it must be among the outcomes' observers of `delivery`.
    pub book: Arc<Book>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Names what comes without a name.
    pub ids: Arc<dyn Ids>,
    /// Cancelled when the node stops: nobody is kept waiting for outcomes then.
    pub stopping: CancellationToken,
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
        self.publish_late(draft, Duration::ZERO).await
    }

    /// As [`publish`](Self::publish), for a draft that is this old already: its TTL counts from its beginning. One
    /// that is too old ends at once, as the rule of its kind says of those whose TTL ends.
    pub async fn publish_late(&self, draft: Draft, age: Duration) -> Published {
        let PublishingParts { delivery, book, clock, ids, .. } = &self.parts;
        let id = draft.id.unwrap_or_else(|| NotificationId::new(ids.next()));
        let now = clock.now();
        let entry = loop {
            match book.begin(id, &draft.user_id, now) {
                Begun::New(entry) => break entry,
                Begun::Known(answer) => return Published { id, state: Ok(answer) },
                // Somebody else is sending the same at this moment, and will know in another one.
                Begun::Busy(answered) => drop(answered.await),
            }
        };
        // It may wait here without being in the book: taken up from a node that stopped, or begun so long ago
        // that the book has no room for it any more.
        if let Some(so_far) = draft.id.and_then(|id| delivery.state_of(&draft.user_id, id)) {
            entry.accepted(so_far, now);
            return Published { id, state: Ok(so_far) };
        }
        let mut policy = self.policy_of(&draft);
        let Draft { user_id, kind, topic, payload, mut ttl, .. } = draft;
        let rule_ttl = ttl.unwrap_or(delivery.rule_of(&kind).ttl);
        if policy != Policy::Inbox && is_too_old(rule_ttl, age) {
            // Its end is told by the one who keeps time, and nobody is pushed it before.
            policy = Policy::Deferred(Strategy::Wake);
            ttl = Some(rule_ttl.max(OVER));
        }
        let created_at = clock.wall_of(now - age);
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
                    book.end(id, Outcome::Rejected, clock.now());
                }
                Err(refused.into())
            }
        };
        Published { id, state }
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

    /// What is known of a notification that was published here; `None` if nothing, or no longer.
    pub fn look_up(&self, id: NotificationId) -> Option<Record> {
        let clock = &self.parts.clock;
        let mut record = self.parts.book.look_up(id, clock.now())?;
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
            ids.into_iter().map(|id| self.parts.book.ended(id)).collect();
        tokio::select! {
            biased;
            () = ended.for_each(async |()| {}) => {}
            () = self.parts.stopping.cancelled() => {}
            () = tokio::time::sleep(at_most.min(Self::MAX_WAIT)) => {}
        }
    }

    /// Whether a user has a live connection, as far as this node knows.
    pub async fn is_online(&self, user: &UserId) -> bool {
        self.parts.presence.is_online(user).await
    }
}

/// A TTL that is over when it is so old.
const OVER: Ttl = Ttl::from_secs(1);
/// 'Now or never' allows for the way here.
const ON_ITS_WAY: Duration = Duration::from_secs(10);

fn is_too_old(ttl: Ttl, age: Duration) -> bool {
    age >= if ttl.is_zero() { ON_ITS_WAY } else { ttl.as_duration() }
}

#[cfg(test)]
mod tests;
