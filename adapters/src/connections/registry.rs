use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use doorstep_application::delivery::Delivery;
use doorstep_application::sign_ins::SessionEnd;
use doorstep_domain::ports::{Chronicle, ConnectionControl};
use doorstep_domain::{NotificationId, Step, TokenHash, UserId};
use tokio_util::task::TaskTracker;

use super::limits::{ConnectionLimits, ConnectionRefusal};
use super::registered::{DeliveryLink, RegistrationStage};
use super::{Connection, ConnectionSettings, DisconnectReason, Newcomer, Registered};
use crate::figures::{Latencies, LatencyCounts};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// Live connections.
    pub connections: usize,
    /// Frames put into outboxes since the start.
    pub frames_queued: u64,
    /// How long it took from a push until the socket had the frame.
    pub pushes: LatencyCounts,
}

/// The live connections of this node.
///
/// A user's connections share a shard with those of other users. A shard's lock is held only while maps are
/// changed and frames are put into outboxes, never across an await.
pub struct Connections {
    pub(super) settings: ConnectionSettings,
    shards: Box<[UserShard]>,
    hasher: RandomState,
    pub(super) limits: ConnectionLimits,
    stopping: AtomicBool,
    /// The number of ended sessions: see [`Connections::session_ends`].
    session_ends: AtomicU64,
    pub(super) frames_queued: [AtomicU64; Transport::ALL.len()],
    pub(super) pushes: [Latencies; Transport::ALL.len()],
    next_id: AtomicU64,
    ends: [AtomicU64; DisconnectReason::ALL.len()],
    chronicle: Option<Arc<dyn Chronicle>>,
    /// The tasks of the connections.
    pub(crate) tasks: TaskTracker,
}

type UserShard = Mutex<HashMap<UserId, Vec<Arc<Connection>>>>;

impl Connections {
    const SHARDS: usize = 64;

    /// No connections yet.
    pub fn new(settings: ConnectionSettings) -> Self {
        Self {
            limits: ConnectionLimits::new(&settings),
            settings,
            shards: (0..Self::SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            stopping: AtomicBool::new(false),
            session_ends: AtomicU64::new(0),
            frames_queued: Default::default(),
            pushes: Default::default(),
            next_id: AtomicU64::new(1),
            ends: Default::default(),
            chronicle: None,
            tasks: TaskTracker::new(),
        }
    }

    /// Notes which connections are pushed, acknowledge and take away what.
    #[must_use]
    pub fn with_chronicle(self, chronicle: Option<Arc<dyn Chronicle>>) -> Self {
        Self { chronicle, ..self }
    }

    /// Notes a step, if somebody wants to know.
    pub(super) fn note(&self, user: &UserId, id: NotificationId, step: impl FnOnce() -> Step) {
        if let Some(chronicle) = &self.chronicle {
            chronicle.note(user, id, step());
        }
    }

    /// Live connections, over all transports.
    pub fn count(&self) -> usize {
        Transport::ALL.iter().map(|transport| self.limits.connections(*transport)).sum()
    }

    /// The figures of one transport.
    pub fn traffic(&self, transport: Transport) -> Traffic {
        Traffic {
            connections: self.limits.connections(transport),
            frames_queued: self.frames_queued[transport as usize].load(Ordering::Relaxed),
            pushes: self.pushes[transport as usize].counts(),
        }
    }

    /// The number of connections that were refused for this reason since the start.
    pub fn refused_by(&self, reason: ConnectionRefusal) -> u64 {
        self.limits.refused[reason as usize].load(Ordering::Relaxed)
    }

    /// The number of connections that have ended for this reason since the start.
    pub fn ended_by(&self, reason: DisconnectReason) -> u64 {
        self.ends[reason as usize].load(Ordering::Relaxed)
    }

    /// The users who have a connection now.
    pub fn users(&self) -> Vec<UserId> {
        self.shards
            .iter()
            .flat_map(|shard| locked(shard).keys().cloned().collect::<Vec<_>>())
            .collect()
    }

    /// Closes every connection with 1012 (service restart) and refuses new ones.
    pub fn close_all(&self) {
        for connection in self.refuse_new() {
            connection.close(DisconnectReason::Restart);
        }
    }

    /// Refuses new connections from now on. Returns those that are there.
    pub(super) fn refuse_new(&self) -> Vec<Arc<Connection>> {
        self.stopping.store(true, Ordering::SeqCst);
        let mut open = Vec::new();
        for shard in &self.shards {
            // A connection is registered under this lock: either it sees the flag, or it is seen here.
            open.extend(locked(shard).values().flatten().cloned());
        }
        open
    }

    /// Does the same as [`close_all`](Self::close_all), then waits at most `bound` for the connections' tasks to
    /// end. Returns the number of tasks that have not ended.
    pub async fn stop(&self, bound: Duration) -> usize {
        self.close_all();
        self.tasks.close();
        let _ = tokio::time::timeout(bound, self.tasks.wait()).await;
        self.tasks.len()
    }

    /// The number of sessions that have been ended so far.
    ///
    /// A session may be signed out between the check of its token and the registration of its connection, when
    /// there is no connection to close yet. A transport that reads a different number after the registration than
    /// before the check must check the token again.
    pub(crate) fn session_ends(&self) -> u64 {
        self.session_ends.load(Ordering::SeqCst)
    }

    /// How long a socket may take no byte before its connection is too slow.
    pub(crate) fn too_slow_after(&self) -> Duration {
        self.settings.too_slow_after
    }

    /// Registers a connection: it receives pushes until the [`Registered`] is dropped.
    pub(crate) fn register(
        self: &Arc<Self>,
        newcomer: Newcomer<'_>,
        delivery: Arc<Delivery>,
    ) -> Result<Registered, ConnectionRefusal> {
        self.register_or_refuse(newcomer, delivery).inspect_err(|reason| {
            self.limits.refused[*reason as usize].fetch_add(1, Ordering::Relaxed);
        })
    }

    fn register_or_refuse(
        self: &Arc<Self>,
        newcomer: Newcomer<'_>,
        delivery: Arc<Delivery>,
    ) -> Result<Registered, ConnectionRefusal> {
        let Newcomer { transport, caller, client, pace } = newcomer;
        let address = client.address();
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let connection =
            Connection::new(id, transport, caller.session, address, pace, &self.settings);
        // Dropping this after a refusal undoes the stages that were reached.
        let mut registered = Registered {
            link: DeliveryLink {
                connections: Arc::clone(self),
                delivery,
                user: caller.user_id.clone(),
                connection: Arc::new(connection),
            },
            stage: RegistrationStage::Begun,
        };
        self.limits.enter_node(transport)?;
        registered.stage = RegistrationStage::CountedOnNode;
        self.limits.enter_address(&client)?;
        registered.stage = RegistrationStage::CountedForAddress;
        {
            let mut shard = locked(self.shard(&caller.user_id));
            if self.stopping.load(Ordering::SeqCst) {
                return Err(ConnectionRefusal::Stopping);
            }
            let theirs = shard.entry(caller.user_id.clone()).or_default();
            self.limits.check_user(&caller.user_id, theirs.len())?;
            theirs.push(Arc::clone(&registered.link.connection));
        }
        registered.stage = RegistrationStage::Pushable;
        Ok(registered)
    }

    fn shard(&self, user: &UserId) -> &UserShard {
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

    /// Counts and logs the end of a registered connection.
    pub(super) fn record_end(&self, user: &UserId, connection: &Connection) {
        // No reason means that its task was dropped, for example because the client went away.
        let reason = connection.closing().unwrap_or(DisconnectReason::Gone);
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

/// A panic elsewhere leaves the map intact: every change to it is one call.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SessionEnd for Connections {
    fn ended(&self, user: &UserId, session: &TokenHash) {
        self.session_ends.fetch_add(1, Ordering::SeqCst);
        self.with(user, |theirs| {
            for connection in theirs.iter().filter(|connection| connection.session == *session) {
                connection.close(DisconnectReason::SessionEnded);
            }
        });
    }
}

impl ConnectionControl for Connections {
    fn count_of(&self, user: &UserId) -> usize {
        self.with(user, |theirs| theirs.iter().filter(|connection| connection.is_open()).count())
    }

    /// Closes them with 4403.
    fn disconnect(&self, user: &UserId) -> usize {
        self.with(user, |theirs| {
            let open = theirs.iter().filter(|connection| connection.is_open());
            open.map(|connection| connection.close(DisconnectReason::Disconnected)).count()
        })
    }

    fn end_session(&self, user: &UserId, session: &TokenHash) {
        SessionEnd::ended(self, user, session);
    }
}
