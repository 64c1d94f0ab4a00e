use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use doorstep_application::Caller;
use doorstep_application::delivery::Delivery;
use doorstep_application::sign_ins::SessionEnd;
use doorstep_domain::ports::{Attempt, Presence, PushError, Pushed, Pusher};
use doorstep_domain::{Notification, Timestamp, TokenHash, UserId};
use tokio::sync::mpsc;

use super::handle::{Closing, Event, Hand, Handle};
use crate::notification_frame::notification_frame;
use crate::transports::{Traffic, Transport};

/// How streams are treated, and how many there may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How often a stream with nothing to say shows that it lives.
    pub heartbeat: Duration,
    /// So many events may wait for a stream's socket; with one more it is too slow.
    pub queue_events: usize,
    /// Streams of one user.
    pub max_per_user: usize,
    /// Streams to one address.
    pub max_per_address: usize,
    /// Streams of this node. Each also takes one of the server's HTTP connections.
    pub max_streams: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(25),
            queue_events: 256,
            max_per_user: 20,
            max_per_address: 1000,
            max_streams: 5000,
        }
    }
}

/// The live streams of this node.
///
/// One lock for all, held for map work and for putting events into queues: this is the transport for the few
/// whose network takes no other.
pub struct Streams {
    settings: Settings,
    users: Mutex<Users>,
    session_ends: AtomicU64,
    events_queued: AtomicU64,
}

#[derive(Default)]
struct Users {
    streams: HashMap<UserId, Vec<Arc<Handle>>>,
    addresses: HashMap<IpAddr, usize>,
    count: usize,
    stopping: bool,
}

/// Why a stream was not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotTaken {
    Stopping,
    OverLimit,
}

impl Streams {
    /// No streams yet.
    pub fn new(settings: Settings) -> Self {
        let (session_ends, events_queued) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { settings, users: Mutex::default(), session_ends, events_queued }
    }

    /// Live streams.
    pub fn count(&self) -> usize {
        self.locked().count
    }

    /// Ends every stream (code 1012) and lets no new one in. The HTTP server waits for their last bytes.
    pub fn stop(&self) {
        let mut users = self.locked();
        users.stopping = true;
        for handle in users.streams.values().flatten() {
            handle.close(Closing::Restart);
        }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How many sessions have been ended so far: who reads another number after registering a stream than
    /// before looking at its token has to look again.
    pub(super) fn session_ends(&self) -> u64 {
        self.session_ends.load(Ordering::SeqCst)
    }

    /// Takes a stream in: from here on it is pushed to, until the [`Registered`] is dropped.
    pub(super) fn register(
        self: &Arc<Self>,
        caller: &Caller,
        address: IpAddr,
        delivery: Arc<Delivery>,
    ) -> Result<(Registered, mpsc::Receiver<Arc<Event>>), NotTaken> {
        let (handle, events) = Handle::new(caller.session, address, self.settings.queue_events);
        let handle = Arc::new(handle);
        let mut users = self.locked();
        if users.stopping {
            return Err(NotTaken::Stopping);
        }
        let theirs = users.streams.get(&caller.user_id).map_or(0, Vec::len);
        let from_here = users.addresses.get(&address).copied().unwrap_or_default();
        if users.count >= self.settings.max_streams
            || from_here >= self.settings.max_per_address
            || theirs >= self.settings.max_per_user
        {
            return Err(NotTaken::OverLimit);
        }
        users.count += 1;
        *users.addresses.entry(address).or_default() += 1;
        users.streams.entry(caller.user_id.clone()).or_default().push(Arc::clone(&handle));
        let user = caller.user_id.clone();
        Ok((Registered { streams: Arc::clone(self), delivery, user, handle }, events))
    }

    fn remove(&self, user: &UserId, handle: &Arc<Handle>) {
        let mut users = self.locked();
        users.count -= 1;
        if let Entry::Occupied(mut from_there) = users.addresses.entry(handle.address) {
            *from_there.get_mut() -= 1;
            if *from_there.get() == 0 {
                from_there.remove();
            }
        }
        if let Entry::Occupied(mut theirs) = users.streams.entry(user.clone()) {
            theirs.get_mut().retain(|other| !Arc::ptr_eq(other, handle));
            if theirs.get().is_empty() {
                theirs.remove();
            }
        }
    }

    /// A panic elsewhere does not make the maps wrong: no change to them can panic half-way.
    fn locked(&self) -> MutexGuard<'_, Users> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Users {
    fn open(&self, user: &UserId) -> impl Iterator<Item = &Arc<Handle>> {
        self.streams.get(user).into_iter().flatten().filter(|handle| handle.is_open())
    }
}

#[async_trait]
impl Presence for Streams {
    async fn is_online(&self, user: &UserId) -> bool {
        self.locked().open(user).next().is_some()
    }
}

#[async_trait]
impl Pusher for Streams {
    async fn push(
        &self,
        notification: &Notification,
        attempt: Attempt,
        deadline: Timestamp,
    ) -> Result<Pushed, PushError> {
        let user = &notification.user_id;
        // Without the lock: writing an event takes longer than putting it into a queue.
        if !self.is_online(user).await {
            return Ok(Pushed::Nobody);
        }
        let id = notification.id;
        // A payload may be JSON over several lines. Those breaks are space between its parts (within its
        // strings they are escaped), and here they would end the event's `data`.
        let frame = notification_frame(notification).replace(['\n', '\r'], " ");
        let text = format!("id: {id}\ndata: {frame}\n\n");
        let event = Arc::new(Event { id, deadline, text });
        let (mut taken, mut queued) = (false, 0);
        // Everyone who is there: no short cut after the first.
        for handle in self.locked().open(user) {
            let hand = handle.hand(&event, attempt);
            taken |= hand != Hand::Gone;
            queued += u64::from(hand == Hand::Queued);
        }
        self.events_queued.fetch_add(queued, Ordering::Relaxed);
        Ok(if taken { Pushed::InFlight } else { Pushed::Nobody })
    }
}

impl Transport for Streams {
    fn traffic(&self) -> Traffic {
        let frames_queued = self.events_queued.load(Ordering::Relaxed);
        Traffic { transport: "sse", connections: self.count(), frames_queued }
    }
}

impl SessionEnd for Streams {
    fn ended(&self, user: &UserId, session: &TokenHash) {
        self.session_ends.fetch_add(1, Ordering::SeqCst);
        for handle in self.locked().open(user).filter(|handle| handle.session == *session) {
            handle.close(Closing::SessionEnded);
        }
    }
}

/// A place in the registry. Dropping it takes the stream out and then tells delivery that it has departed.
pub(super) struct Registered {
    streams: Arc<Streams>,
    delivery: Arc<Delivery>,
    user: UserId,
    handle: Arc<Handle>,
}

impl Registered {
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(super) fn user(&self) -> &UserId {
        &self.user
    }

    pub(super) fn delivery(&self) -> &Delivery {
        &self.delivery
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.streams.remove(&self.user, &self.handle);
        self.delivery.departed(&self.user);
    }
}
