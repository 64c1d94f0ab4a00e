use std::time::Duration;

use async_trait::async_trait;

use crate::{NotificationId, Topic, UserId};

/// Where backends leave notifications in the transactions of their own database.
///
/// One node consumes at a time. It holds a lease, whose time is the database's, and each of its writes carries the
/// number of the lease: **a node that has lost the lease changes nothing**.
///
/// A notification is in one of two places: it waits, or the consumer has accepted it and it has not ended. What a
/// consumer that died had accepted is read by the next one with [`accepted`](Self::accepted).
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait NotificationSource: Send + Sync {
    /// Takes the lease if nobody holds it. `None` if another node does.
    async fn lease(&self) -> Result<Option<Fence>, SourceError>;

    /// Extends the lease. To be called every second; the lease ends 5 s after the last time.
    async fn renew(&self, fence: Fence) -> Result<(), SourceError>;

    /// Gives the lease back, so that another node need not wait for its end. A lease that was lost cannot be given
    /// back: that of the other node goes on.
    async fn release(&self, fence: Fence) -> Result<(), SourceError>;

    /// What was accepted and has not ended: at most `limit`, in order, those behind the place `after`. Any node may read
    /// it.
    async fn accepted(&self, after: u64, limit: usize) -> Result<Vec<Written>, SourceError>;

    /// What waits: at most `limit`, in the order in which it was written, as far as it is committed. Changes
    /// nothing.
    async fn take(&self, limit: usize) -> Result<Vec<Written>, SourceError>;

    /// Moves these from those that wait to those that are accepted. Returns which it moved: one that has gone in the
    /// meantime must not be delivered.
    async fn accept(&self, fence: Fence, places: &[u64]) -> Result<Vec<u64>, SourceError>;

    /// Puts these aside with what is wrong with them, whether they wait or were accepted. The source keeps a bounded
    /// number. A place that is not known changes nothing.
    async fn reject(&self, fence: Fence, bad: &[Bad]) -> Result<(), SourceError>;

    /// Removes these from those that are accepted: they have ended, or are in the inbox. A place that is not known
    /// changes nothing.
    async fn forget(&self, fence: Fence, places: &[u64]) -> Result<(), SourceError>;

    /// Removes what matches from those that wait, at most `limit` and in any order, and returns it: it must not be
    /// delivered. Any node may do this, whoever has the lease. What is not committed is not seen.
    async fn withdraw(&self, which: &Withdrawal, limit: usize)
    -> Result<Vec<Written>, SourceError>;

    /// What matches among those that are accepted: at most `limit`, in any order, those behind the place `after`.
    async fn accepted_of(
        &self,
        which: &Withdrawal,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Written>, SourceError>;

    /// Waits until something may have been written, at most this long. Returns earlier where the source cannot tell.
    async fn written(&self, at_most: Duration);

    /// How much waits, and how long the oldest has waited.
    async fn backlog(&self) -> Result<Backlog, SourceError>;
}

/// The number of a lease. Each lease has a larger one than those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(pub u64);

/// Why a source did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Another node has the lease. Nothing was changed.
    #[error("another node consumes the outbox now")]
    LeaseLost,
    /// It cannot be reached, or did not reply in time: the same call may succeed later. Whether a write took effect
    /// is unknown.
    #[error("the outbox is unavailable: {0}")]
    Unavailable(String),
    /// It is not what this program can work with: an operator must do what the text says.
    #[error("{0}")]
    Unusable(String),
}

/// A notification as a backend wrote it. Nothing is judged yet: every text may be missing or wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its place in the order of all.
    pub place: u64,
    /// How long ago it was written, by the clock of the source.
    pub age: Duration,
    /// Its id.
    pub id: Option<NotificationId>,
    /// The recipient.
    pub user_id: Option<String>,
    /// What happened.
    pub kind: Option<String>,
    /// What the client shows.
    pub payload: WrittenPayload,
    /// Which earlier one it supersedes.
    pub topic: Option<String>,
    /// How many seconds it may wait.
    pub ttl: Option<i64>,
    /// The delivery policy.
    pub policy: Option<String>,
    /// The trace that it belongs to (W3C Trace Context).
    pub traceparent: Option<String>,
}

/// The payload of a [`Written`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WrittenPayload {
    /// There is none.
    Missing,
    /// JSON text.
    Json(String),
    /// Far too large to be read: its size in bytes.
    TooLarge(usize),
}

/// A notification that cannot be delivered, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    /// Its place.
    pub place: u64,
    /// What is wrong: the field (empty if it is none) and a sentence.
    pub errors: Vec<(String, String)>,
}

/// Which notifications their backend takes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Withdrawal {
    /// Those with this id.
    One(NotificationId),
    /// Those of this user, or those of one topic of this user.
    AllOf(UserId, Option<Topic>),
}

impl Withdrawal {
    /// Whether a notification is one of them.
    pub fn matches(&self, id: NotificationId, user: &UserId, topic: Option<&Topic>) -> bool {
        match self {
            Self::One(wanted) => id == *wanted,
            Self::AllOf(of, None) => user == of,
            Self::AllOf(of, wanted) => user == of && topic == wanted.as_ref(),
        }
    }
}

/// How much waits in a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// How many wait.
    pub waiting: u64,
    /// How long the oldest has waited; zero if none does.
    pub oldest: Duration,
}
