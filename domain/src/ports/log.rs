use async_trait::async_trait;

use crate::{Append, Appended, LogEntry, LogEvent, LogKey, LogTime, ReadFrom};

/// The log that all nodes share: one totally ordered sequence of entries, which every node appends to and reads.
///
/// An append is a compare-and-set on the last entry of its key. **Of all appends of one key that expect the same, at most
/// one wins**, whichever nodes they come from and whatever fails in the meantime.
///
/// **Only what is read back decides.** An append that was not won is neither done nor undone as far as anybody knows:
/// whoever needs to know reads the log until an entry of that key comes by, and appends again while none does.
///
/// Everything is bounded: the entries that a tail has read ahead, the appends that wait for an answer, and how long
/// each of them waits.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait Log: Send + Sync {
    /// Appends an entry if its condition holds. Returns within a time that the adapter documents. An entry of 40 KiB,
    /// with the largest notification, is never too large.
    ///
    /// When the future is dropped, the result is as if it were [`Appended::Unknown`].
    async fn append(&self, entry: Append) -> Appended;

    /// Begins to read. It does not wait for the log: while the log cannot be reached, the tail says so and keeps trying.
    fn tail(&self, from: ReadFrom) -> Box<dyn LogTail>;

    /// Reads the last entry of a key, once, without a tail. `None` if the log keeps none.
    ///
    /// The entry is not older than what a tail of this node has read before the call.
    async fn get(&self, key: LogKey) -> Result<Option<LogEntry>, LogUnavailable>;

    /// The time on the log's clock, as far as this node knows. Does not ask the log.
    ///
    /// `None` before a tail of this node has read an entry, and again when another machine's clock begins to count, until
    /// the next entry.
    fn time(&self) -> Option<LogTime>;
}

/// A reader of the log. Dropping it ends it.
///
/// It reads every entry once, in order, and does not miss any, with one exception: an entry that was replaced by a newer
/// one of its key, or that the log no longer keeps, may be left out. So **the last entry of each key is always read**,
/// unless it goes before the reader comes to it. Nothing tells that an entry is no longer kept.
///
/// It does not know whether it has caught up: the caller appends an entry and waits for it to come by.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait LogTail: Send {
    /// Waits for the next event. It never ends by itself. When the future is dropped, nothing is lost.
    async fn next(&mut self) -> LogEvent;
}

/// The log cannot be reached, or did not reply in time. The same call may succeed later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the log is unavailable: {0}")]
pub struct LogUnavailable(pub String);
