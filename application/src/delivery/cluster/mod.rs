//! Delivery on several nodes: the mailboxes are a log.
//!
//! What all nodes must agree on are entries of one totally ordered log. A node accepts a notification by appending it, if
//! the log has no entry of its id; it ends one by appending an end, if the last entry is the one that it knows. So at most
//! one end can win. **Only what is read back decides**: every node reads the whole log and drives its own mailboxes from it,
//! and the node that an end names tells the outcome when it reads it.
//!
//! A user who arrives is served from this node's own memory. Neither an arrival nor an idle user costs an entry.
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | one node of a cluster; how far it has read |
//! | `accept` | accepting: an append, and what became of it |
//! | `read` | reading the log: what each entry changes here |
//! | `proposals`, `decisions` | what is open, and the ends that this node has proposed |
//! | `propose` | the task that appends them |
//! | `once` | now or never: offered once, by every node |
//! | `passing` | barriers, and hints that concern only those who read now |
//! | `look_up` | what the log says of a notification |
//! | `recall` | a sender takes back what it sent |
//! | `upgrade` | takes up what a node alone has left; a stop |
//! | `again`, `orphans` | the log is not what it was, and is read again; what it has lost is appended again |

mod accept;
mod again;
mod decisions;
mod look_up;
mod once;
mod orphans;
mod passing;
mod proposals;
mod propose;
mod read;
mod recall;
mod upgrade;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use doorstep_domain::ports::{ConnectionControl, Log, Presence};
use doorstep_domain::{LogKey, Notification, Timestamp, UserId};
use tokio::sync::{oneshot, watch};

pub(super) use self::decisions::Decisions;
pub use self::look_up::ClusterRecord;
use self::orphans::Orphans;
pub(super) use self::passing::Hints;
pub(super) use self::recall::InLog;
use super::context::Context;
use super::endings::Acceptance;
use super::mailbox::EntryState;
use super::sync::Mutex;
use super::wake::Wake;
use crate::cluster::NodeId;

/// How long the log keeps an end: within this time a repeat of its id is recognised, and its outcome can be asked for.
pub const WINDOW: Duration = Duration::from_hours(1);

/// How long this node waits for something of its own to come by.
const PATIENCE: Duration = Duration::from_secs(5);

/// The pause before something is tried again while the log is away.
const PAUSE: Duration = Duration::from_secs(1);

/// What a delivery needs to share its notifications with other nodes.
pub struct SharedLog {
    /// The log that all nodes share.
    pub log: Arc<dyn Log>,
    /// This run of this node.
    pub node: NodeId,
    /// Closes connections of users that another node was asked to disconnect.
    pub control: Option<Arc<dyn ConnectionControl>>,
    /// Whether users are connected to other nodes. Without it, a full mailbox drops its oldest although its user reads at
    /// another node.
    pub elsewhere: Option<Arc<dyn Presence>>,
}

opaque!(SharedLog);

/// How a node stands to the log of its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It has not read everything yet: at a start, or after the log turned out not to be what it was. Users who arrive
    /// now would miss what waits for them.
    CatchingUp,
    /// It has read all that was there when it began, and reads on.
    UpToDate,
    /// The log cannot be read, for this reason. What is known here is still pushed; nothing new is accepted.
    CutOff(String),
}

/// Counts of a node of a cluster since its start.
#[derive(Debug, Default)]
struct Counts {
    entries: AtomicU64,
    won: AtomicU64,
    lost: AtomicU64,
    unknown: AtomicU64,
    refused: AtomicU64,
    unreadable: AtomicU64,
    newer: AtomicU64,
    by_others: AtomicU64,
    by_me: AtomicU64,
    caught_up_in: AtomicU64,
}

/// What a node of a cluster has done since its start, and what it holds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterCounts {
    /// Entries read.
    pub entries: u64,
    /// Appends that won.
    pub won: u64,
    /// Appends that lost.
    pub lost: u64,
    /// Appends without an answer.
    pub unknown: u64,
    /// Appends that were refused or not attempted.
    pub refused: u64,
    /// Entries that say nothing to any version.
    pub unreadable: u64,
    /// Entries of a newer version, which were skipped.
    pub newer: u64,
    /// Ends that other nodes won.
    pub ended_by_others: u64,
    /// Ends that this node won.
    pub ended_here: u64,
    /// How long it took this node to read everything, when it did so last.
    pub caught_up_in: Option<Duration>,
    /// Notifications that the log says are open.
    pub open: usize,
    /// Ends that were proposed here and are not read back yet.
    pub proposed: usize,
}

/// One node of a cluster.
pub(super) struct Cluster {
    cx: Arc<Context>,
    wake: Arc<Wake>,
    log: Arc<dyn Log>,
    control: Option<Arc<dyn ConnectionControl>>,
    elsewhere: Option<Arc<dyn Presence>>,
    me: NodeId,
    decisions: Arc<Decisions>,
    /// The channels of callers that wait until an entry of this key has been read.
    watched: Mutex<HashMap<LogKey, Vec<oneshot::Sender<()>>>>,
    standing: watch::Sender<Standing>,
    /// Whether everything has been read that was in the log when reading began, and nothing was forgotten since.
    has_read: AtomicBool,
    /// Numbers the passing entries of this node.
    passed: AtomicU64,
    hints: Arc<Hints>,
    /// Accepted here, in a log that has been lost: they are appended again if the new one does not have them.
    orphans: Mutex<Orphans>,
    cut_off_since: Mutex<Option<Timestamp>>,
    /// One more whenever what is known of the log's end is void.
    generation: AtomicU64,
    counts: Counts,
}

impl Cluster {
    pub(super) fn new(
        cx: Arc<Context>,
        wake: Arc<Wake>,
        shared: SharedLog,
        decisions: Arc<Decisions>,
    ) -> Arc<Self> {
        let hints = Arc::<Hints>::default();
        cx.others.set(hints.clone()).ok();
        Arc::new(Self {
            cx,
            wake,
            log: shared.log,
            control: shared.control,
            elsewhere: shared.elsewhere,
            me: shared.node,
            decisions,
            watched: Mutex::default(),
            standing: watch::Sender::new(Standing::CatchingUp),
            has_read: AtomicBool::new(false),
            passed: AtomicU64::new(0),
            hints,
            orphans: Mutex::default(),
            cut_off_since: Mutex::default(),
            generation: AtomicU64::new(0),
            counts: Counts::default(),
        })
    }

    /// Starts to read the log, and to append to it.
    pub(super) fn start(self: &Arc<Self>) {
        let this = self.clone();
        self.cx.tasks.spawn(async move {
            this.cx.tasks.keep_going("reader of the log", || this.read_on()).await;
        });
        let this = self.clone();
        self.cx.tasks.spawn(async move {
            this.cx.tasks.keep_going("proposing of ends", || this.keep_proposing()).await;
        });
        let this = self.clone();
        self.cx.tasks.spawn(async move {
            this.cx.tasks.keep_going("hints to other nodes", || this.keep_hinting()).await;
        });
    }

    pub(super) fn has_read(&self) -> bool {
        self.has_read.load(Relaxed)
    }

    /// How this node stands to the log, and when that changes.
    pub(super) fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Whether the user reads what is pushed, at any node. The others are asked only if nobody reads here.
    async fn is_reading(&self, user: &UserId) -> bool {
        if self.cx.is_reading(user).await {
            return true;
        }
        match &self.elsewhere {
            Some(elsewhere) => self.cx.reads(&**elsewhere, user).await,
            None => false,
        }
    }

    /// Waits for an entry of this key. Call it before the entry can come by.
    fn watch(&self, key: LogKey) -> Watch<'_> {
        let (seen, wait) = oneshot::channel();
        self.watched.lock().entry(key).or_default().push(seen);
        Watch { cluster: self, key, wait }
    }

    fn seen(&self, key: LogKey) {
        let waiting = self.watched.lock().remove(&key);
        for one in waiting.into_iter().flatten() {
            // A caller that waited may have given up.
            let _ = one.send(());
        }
    }

    /// What a sender is told of a notification that the log says is open.
    fn so_far(&self, n: &Notification) -> Acceptance {
        let state = self.wake.rooms.with(&n.user_id, |room| room.state(&n.user_id, n.id));
        match state {
            Some(EntryState::Pushing | EntryState::InFlight) => Acceptance::InFlight,
            // A connection has taken it, and the end is on its way through the log.
            None if self.decisions.has_proposed(n.id) => Acceptance::InFlight,
            Some(_) | None => Acceptance::Waiting,
        }
    }

    pub(super) fn counts(&self) -> ClusterCounts {
        let (open, proposed) = self.decisions.proposals.lock().count();
        let Counts {
            entries,
            won,
            lost,
            unknown,
            refused,
            unreadable,
            newer,
            by_others,
            by_me,
            caught_up_in,
        } = &self.counts;
        let caught_up_in = Duration::from_micros(caught_up_in.load(Relaxed));
        ClusterCounts {
            entries: entries.load(Relaxed),
            won: won.load(Relaxed),
            lost: lost.load(Relaxed),
            unknown: unknown.load(Relaxed),
            refused: refused.load(Relaxed),
            unreadable: unreadable.load(Relaxed),
            newer: newer.load(Relaxed),
            ended_by_others: by_others.load(Relaxed),
            ended_here: by_me.load(Relaxed),
            caught_up_in: Some(caught_up_in).filter(|time| !time.is_zero()),
            open,
            proposed,
        }
    }
}

/// Waits for an entry. Dropping it leaves nothing behind.
struct Watch<'a> {
    cluster: &'a Cluster,
    key: LogKey,
    wait: oneshot::Receiver<()>,
}

impl Watch<'_> {
    /// Returns whether it came by within this time.
    async fn for_at_most(&mut self, time: Duration) -> bool {
        matches!(tokio::time::timeout(time, &mut self.wait).await, Ok(Ok(())))
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let mut watched = self.cluster.watched.lock();
        self.wait.close();
        if let Some(waiting) = watched.get_mut(&self.key) {
            waiting.retain(|one| !one.is_closed());
            if waiting.is_empty() {
                watched.remove(&self.key);
            }
        }
    }
}
