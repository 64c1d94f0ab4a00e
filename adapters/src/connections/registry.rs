use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use doorstep_application::delivery::Delivery;
use doorstep_application::sign_ins::SessionEnd;
use doorstep_domain::{TokenHash, UserId};
use tokio_util::task::TaskTracker;

use crate::http::LimitLog;

use super::registered::{Line, Stage};
use super::{CloseReason, Connection, Newcomer, Registered, Settings};

/// How a connection reaches its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// RFC 6455.
    WebSocket,
    /// Server-Sent Events.
    Sse,
}

impl Transport {
    /// Every transport, in the order of its variants.
    pub const ALL: [Self; 2] = [Self::WebSocket, Self::Sse];

    /// The name in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Sse => "sse",
        }
    }
}

/// The figures of one transport.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Live connections.
    pub connections: usize,
    /// Frames put into outboxes, since the start.
    pub frames_queued: u64,
}

/// Why a connection was not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The node is stopping.
    #[error("this node is stopping; come back soon")]
    Stopping,
    /// Its user has as many as one user may ([`Settings::max_per_user`]).
    #[error("this user has too many connections; try again later")]
    User,
    /// Its address has as many as one address may ([`Settings::max_per_address`]).
    #[error("there are too many connections from this address; try again later")]
    Address,
    /// The node has as many of this transport as it may.
    #[error("this node has too many connections; try again later")]
    Node,
}

impl From<Refusal> for CloseReason {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Stopping => Self::Restart,
            Refusal::User | Refusal::Address | Refusal::Node => Self::OverLimit,
        }
    }
}

/// The live connections of this node.
///
/// A user's connections share a shard with those of other users. A shard's lock is held for work on maps and
/// for putting frames into outboxes, never across an await.
pub struct Connections {
    pub(super) settings: Settings,
    shards: Box<[Shard]>,
    hasher: RandomState,
    addresses: Mutex<HashMap<IpAddr, usize>>,
    counts: [AtomicUsize; Transport::ALL.len()],
    stopping: AtomicBool,
    /// How many sessions have been ended: see [`Connections::session_ends`].
    session_ends: AtomicU64,
    pub(super) frames_queued: [AtomicU64; Transport::ALL.len()],
    next_id: AtomicU64,
    user_log: LimitLog,
    address_log: LimitLog,
    node_log: LimitLog,
    ends: [AtomicU64; CloseReason::ALL.len()],
    /// The tasks that connections live in.
    pub(crate) tasks: TaskTracker,
}

type Shard = Mutex<HashMap<UserId, Vec<Arc<Connection>>>>;

impl Connections {
    const SHARDS: usize = 64;

    /// No connections yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            shards: (0..Self::SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            addresses: Mutex::default(),
            counts: Default::default(),
            stopping: AtomicBool::new(false),
            session_ends: AtomicU64::new(0),
            frames_queued: Default::default(),
            next_id: AtomicU64::new(1),
            user_log: LimitLog::new("limits.connections_per_user"),
            address_log: LimitLog::new("limits.connections_per_address"),
            node_log: LimitLog::new("limits.connections"),
            ends: Default::default(),
            tasks: TaskTracker::new(),
        }
    }

    /// Live connections, over all transports.
    pub fn count(&self) -> usize {
        Transport::ALL.iter().map(|transport| self.traffic(*transport).connections).sum()
    }

    /// The figures of one transport.
    pub fn traffic(&self, transport: Transport) -> Traffic {
        Traffic {
            connections: self.counts[transport as usize].load(Ordering::Relaxed),
            frames_queued: self.frames_queued[transport as usize].load(Ordering::Relaxed),
        }
    }

    /// How many connections have ended for this reason, since the start.
    pub fn ended_by(&self, reason: CloseReason) -> u64 {
        self.ends[reason as usize].load(Ordering::Relaxed)
    }

    /// Closes every connection with 1012 (service restart) and takes no new one in.
    pub fn close_all(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        for shard in &self.shards {
            // A connection is registered under this lock: it either sees the flag or is seen here.
            for connection in locked(shard).values().flatten() {
                connection.close(CloseReason::Restart);
            }
        }
    }

    /// As [`close_all`](Self::close_all); then waits at most `bound` until their tasks have ended. Returns how
    /// many had not.
    pub async fn stop(&self, bound: Duration) -> usize {
        self.close_all();
        self.tasks.close();
        let _ = tokio::time::timeout(bound, self.tasks.wait()).await;
        self.tasks.len()
    }

    /// Closes all connections of a user with 4403, and returns how many.
    pub fn disconnect(&self, user: &UserId) -> usize {
        self.with(user, |theirs| {
            let open = theirs.iter().filter(|connection| connection.is_open());
            open.map(|connection| connection.close(CloseReason::Disconnected)).count()
        })
    }

    /// How many connections this user has.
    pub fn count_of(&self, user: &UserId) -> usize {
        self.with(user, |theirs| theirs.iter().filter(|connection| connection.is_open()).count())
    }

    /// How many sessions have been ended so far.
    ///
    /// A session may be signed out between the check of its token and the registration of its connection,
    /// and then finds nothing to close. A transport that reads another number after the registration than
    /// before the check must check again.
    pub(crate) fn session_ends(&self) -> u64 {
        self.session_ends.load(Ordering::SeqCst)
    }

    /// When a connection counts as too slow.
    pub(crate) fn too_slow_after(&self) -> Duration {
        self.settings.too_slow_after
    }

    /// Takes a connection in: from here on it is pushed to, until the [`Registered`] is dropped.
    pub(crate) fn register(
        self: &Arc<Self>,
        newcomer: Newcomer<'_>,
        delivery: Arc<Delivery>,
    ) -> Result<Registered, Refusal> {
        let Newcomer { transport, caller, client, pace } = newcomer;
        let address = client.address();
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let connection =
            Connection::new(id, transport, caller.session, address, pace, &self.settings);
        // Each count is taken before it is judged, so that no two take the last place; dropping this puts
        // back what has been taken.
        let mut registered = Registered {
            line: Line {
                connections: Arc::clone(self),
                delivery,
                user: caller.user_id.clone(),
                connection: Arc::new(connection),
            },
            stage: Stage::Refused,
        };
        let most = match transport {
            Transport::WebSocket => self.settings.max_websockets,
            Transport::Sse => self.settings.max_streams,
        };
        let before = self.counts[transport as usize].fetch_add(1, Ordering::Relaxed);
        registered.stage = Stage::Counted;
        if before >= most {
            self.node_log.reached_by(transport.as_str());
            return Err(Refusal::Node);
        }
        {
            let mut addresses = locked(&self.addresses);
            let from_here = addresses.entry(address).or_insert(0);
            if *from_here >= self.settings.max_per_address {
                self.address_log.reached(&client);
                return Err(Refusal::Address);
            }
            *from_here += 1;
        }
        registered.stage = Stage::Addressed;
        {
            let mut shard = locked(self.shard(&caller.user_id));
            if self.stopping.load(Ordering::SeqCst) {
                return Err(Refusal::Stopping);
            }
            let theirs = shard.entry(caller.user_id.clone()).or_default();
            if theirs.len() >= self.settings.max_per_user {
                self.user_log.reached_by(&caller.user_id);
                return Err(Refusal::User);
            }
            theirs.push(Arc::clone(&registered.line.connection));
        }
        registered.stage = Stage::Pushable;
        Ok(registered)
    }

    fn shard(&self, user: &UserId) -> &Shard {
        // The number of shards is a power of two that fits any usize; the cut keeps the low bits.
        #[expect(clippy::cast_possible_truncation)]
        let index = self.hasher.hash_one(user) as usize % Self::SHARDS;
        &self.shards[index]
    }

    /// Calls `f` with the user's connections, under the lock. Some of them may be closing.
    pub(super) fn with<T>(&self, user: &UserId, f: impl FnOnce(&[Arc<Connection>]) -> T) -> T {
        let shard = locked(self.shard(user));
        f(shard.get(user).map_or(&[], Vec::as_slice))
    }

    pub(super) fn remove(&self, user: &UserId, connection: &Arc<Connection>) {
        let mut shard = locked(self.shard(user));
        if let Entry::Occupied(mut theirs) = shard.entry(user.clone()) {
            theirs.get_mut().retain(|other| !Arc::ptr_eq(other, connection));
            if theirs.get().is_empty() {
                theirs.remove();
            }
        }
    }

    pub(super) fn leave_address(&self, address: IpAddr) {
        let mut addresses = locked(&self.addresses);
        if let Entry::Occupied(mut from_there) = addresses.entry(address) {
            *from_there.get_mut() -= 1;
            if *from_there.get() == 0 {
                from_there.remove();
            }
        }
    }

    pub(super) fn leave(&self, connection: &Connection) {
        self.counts[connection.transport as usize].fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts and logs the end of a connection that was taken in.
    pub(super) fn record_end(&self, user: &UserId, connection: &Connection) {
        // Without a reason its task was dropped, as when the client goes away.
        let reason = connection.closing().unwrap_or(CloseReason::Gone);
        self.ends[reason as usize].fetch_add(1, Ordering::Relaxed);
        tracing::info!(
            user = %user,
            connection = connection.id,
            transport = connection.transport.as_str(),
            reason = reason.as_str(),
            age_ms = u64::try_from(connection.since.elapsed().as_millis()).unwrap_or(u64::MAX),
            frames = connection.frames.load(Ordering::Relaxed),
            "connection ended"
        );
    }
}

/// A panic elsewhere does not make the map wrong: every change to it is one call.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SessionEnd for Connections {
    fn ended(&self, user: &UserId, session: &TokenHash) {
        self.session_ends.fetch_add(1, Ordering::SeqCst);
        self.with(user, |theirs| {
            for connection in theirs.iter().filter(|connection| connection.session == *session) {
                connection.close(CloseReason::SessionEnded);
            }
        });
    }
}
