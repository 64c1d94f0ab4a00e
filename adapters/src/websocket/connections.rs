use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use doorstep_application::Caller;
use doorstep_application::delivery::Delivery;
use doorstep_application::sign_ins::SessionEnd;
use doorstep_domain::ports::{Attempt, Presence, PushError, Pushed, Pusher};
use doorstep_domain::{Notification, Timestamp, TokenHash, UserId};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::frame::Frame;
use super::handle::{Hand, Handle};
use super::{CloseReason, Settings};
use crate::transports::{Traffic, Transport};

/// The live connections of this node.
///
/// A user's connections share a shard with those of other users; a shard's lock is held for map work and
/// for putting frames into queues, never across anything that waits.
pub struct Connections {
    settings: Settings,
    shards: Box<[Shard]>,
    hasher: RandomState,
    addresses: Mutex<HashMap<IpAddr, usize>>,
    count: AtomicUsize,
    stopping: AtomicBool,
    /// How many sessions have been ended: see [`Connections::session_ends`].
    session_ends: AtomicU64,
    presence_checks: AtomicU64,
    frames_queued: AtomicU64,
    /// The tasks that connections live in.
    pub(super) tasks: TaskTracker,
}

type Shard = Mutex<HashMap<UserId, Vec<Arc<Handle>>>>;

/// Figures for tables and metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Live connections.
    pub connections: usize,
    /// How often somebody asked whether a user is there, since the start.
    pub presence_checks: u64,
    /// Frames put into queues, since the start.
    pub frames_queued: u64,
}

impl Connections {
    const SHARDS: usize = 64;

    /// No connections yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            shards: (0..Self::SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            addresses: Mutex::default(),
            count: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            session_ends: AtomicU64::new(0),
            presence_checks: AtomicU64::new(0),
            frames_queued: AtomicU64::new(0),
            tasks: TaskTracker::new(),
        }
    }

    /// What has been counted.
    pub fn stats(&self) -> Stats {
        Stats {
            connections: self.count.load(Ordering::Relaxed),
            presence_checks: self.presence_checks.load(Ordering::Relaxed),
            frames_queued: self.frames_queued.load(Ordering::Relaxed),
        }
    }

    /// Closes every connection with 1012 (service restart), lets no new one in, and waits at most `bound`
    /// until they have gone; says how many had not.
    pub async fn stop(&self, bound: Duration) -> usize {
        self.stopping.store(true, Ordering::SeqCst);
        for shard in &self.shards {
            // A connection is registered under this lock: it either sees the flag or is seen here.
            for handle in locked(shard).values().flatten() {
                handle.close(CloseReason::Restart);
            }
        }
        self.tasks.close();
        let _ = tokio::time::timeout(bound, self.tasks.wait()).await;
        self.tasks.len()
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How many sessions have been ended so far.
    ///
    /// A session may be signed out between the look at its token and the registration of its connection,
    /// and then finds nothing to close. Whoever reads this before the look and sees another number after
    /// the registration has to look again.
    pub(super) fn session_ends(&self) -> u64 {
        self.session_ends.load(Ordering::SeqCst)
    }

    /// Takes a connection in: from here on it is pushed to, until the [`Registered`] is dropped.
    pub(super) fn register(
        self: &Arc<Self>,
        caller: &Caller,
        address: IpAddr,
        delivery: Arc<Delivery>,
    ) -> Result<(Registered, mpsc::Receiver<Arc<Frame>>), CloseReason> {
        let (handle, frames) = Handle::new(caller.session, address, self.settings.queue_frames);
        let handle = Arc::new(handle);
        // Each count is taken before it is judged, so that no two take the last place; dropping this puts
        // back what has been taken.
        let mut registered = Registered {
            connections: Arc::clone(self),
            delivery,
            user: caller.user_id.clone(),
            handle,
            stage: Stage::Refused,
        };
        let before = self.count.fetch_add(1, Ordering::Relaxed);
        registered.stage = Stage::Counted;
        if before >= self.settings.max_connections {
            return Err(CloseReason::OverLimit);
        }
        {
            let mut addresses = locked(&self.addresses);
            let from_here = addresses.entry(address).or_insert(0);
            if *from_here >= self.settings.max_per_address {
                return Err(CloseReason::OverLimit);
            }
            *from_here += 1;
        }
        registered.stage = Stage::Addressed;
        {
            let mut shard = locked(self.shard(&caller.user_id));
            if self.stopping.load(Ordering::SeqCst) {
                return Err(CloseReason::Restart);
            }
            let theirs = shard.entry(caller.user_id.clone()).or_default();
            if theirs.len() >= self.settings.max_per_user {
                return Err(CloseReason::OverLimit);
            }
            theirs.push(Arc::clone(&registered.handle));
        }
        registered.stage = Stage::Pushable;
        Ok((registered, frames))
    }

    fn shard(&self, user: &UserId) -> &Shard {
        // The number of shards is a power of two that fits any usize; the cut keeps the low bits.
        #[expect(clippy::cast_possible_truncation)]
        let index = self.hasher.hash_one(user) as usize % Self::SHARDS;
        &self.shards[index]
    }

    fn is_here(&self, user: &UserId) -> bool {
        let shard = locked(self.shard(user));
        shard.get(user).is_some_and(|theirs| theirs.iter().any(|handle| handle.is_open()))
    }

    fn remove(&self, user: &UserId, handle: &Arc<Handle>) {
        let mut shard = locked(self.shard(user));
        if let Entry::Occupied(mut theirs) = shard.entry(user.clone()) {
            theirs.get_mut().retain(|other| !Arc::ptr_eq(other, handle));
            if theirs.get().is_empty() {
                theirs.remove();
            }
        }
    }

    fn leave_address(&self, address: IpAddr) {
        let mut addresses = locked(&self.addresses);
        if let Entry::Occupied(mut from_there) = addresses.entry(address) {
            *from_there.get_mut() -= 1;
            if *from_there.get() == 0 {
                from_there.remove();
            }
        }
    }
}

/// A panic elsewhere does not make the map wrong: every change to it is one call.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Presence for Connections {
    async fn is_online(&self, user: &UserId) -> bool {
        self.presence_checks.fetch_add(1, Ordering::Relaxed);
        self.is_here(user)
    }
}

#[async_trait]
impl Pusher for Connections {
    /// Plain connections answer [`Pushed::InFlight`] like those that acknowledge: their writer acknowledges
    /// for them, once the frame has been written.
    async fn push(
        &self,
        notification: &Notification,
        attempt: Attempt,
        deadline: Timestamp,
    ) -> Result<Pushed, PushError> {
        // Without the lock: writing a frame takes longer than putting it into a queue.
        if !self.is_here(&notification.user_id) {
            return Ok(Pushed::Nobody);
        }
        let frame = Arc::new(Frame::new(notification, deadline));
        let shard = locked(self.shard(&notification.user_id));
        let theirs = shard.get(&notification.user_id).into_iter().flatten();
        // Everyone who is there: no short cut after the first.
        let (mut taken, mut queued) = (false, 0);
        for handle in theirs {
            let hand = handle.hand(&frame, attempt);
            taken |= hand != Hand::Gone;
            queued += u64::from(hand == Hand::Queued);
        }
        drop(shard);
        self.frames_queued.fetch_add(queued, Ordering::Relaxed);
        Ok(if taken { Pushed::InFlight } else { Pushed::Nobody })
    }
}

impl Transport for Connections {
    fn traffic(&self) -> Traffic {
        let Stats { connections, frames_queued, .. } = self.stats();
        Traffic { transport: "websocket", connections, frames_queued }
    }
}

impl SessionEnd for Connections {
    fn ended(&self, user: &UserId, session: &TokenHash) {
        self.session_ends.fetch_add(1, Ordering::SeqCst);
        let shard = locked(self.shard(user));
        for handle in shard.get(user).into_iter().flatten() {
            if handle.session == *session {
                handle.close(CloseReason::SessionEnded);
            }
        }
    }
}

/// A place in the registry. Dropping it, however that comes about, takes the connection out and then tells
/// delivery that it has departed.
pub(super) struct Registered {
    connections: Arc<Connections>,
    delivery: Arc<Delivery>,
    user: UserId,
    handle: Arc<Handle>,
    stage: Stage,
}

/// How far a registration came: so much is to be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Refused,
    Counted,
    Addressed,
    Pushable,
}

impl Registered {
    pub(super) fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }

    pub(super) fn user(&self) -> &UserId {
        &self.user
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        if self.stage >= Stage::Pushable {
            self.connections.remove(&self.user, &self.handle);
        }
        if self.stage >= Stage::Addressed {
            self.connections.leave_address(self.handle.address);
        }
        if self.stage >= Stage::Counted {
            self.connections.count.fetch_sub(1, Ordering::Relaxed);
        }
        if self.stage >= Stage::Pushable {
            self.delivery.departed(&self.user);
        }
    }
}
