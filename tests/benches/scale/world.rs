//! A world of absent users: a clock that can be advanced, presence, and a pusher that records times.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use doorstep_domain::ports::{Attempt, Clock, Presence, PushError, Pushed, Pusher};
use doorstep_domain::{Notification, NotificationId, Payload, Timestamp, Ttl, UserId};
use uuid::Uuid;

pub(crate) struct World {
    start: Instant,
    forward_us: AtomicU64,
    online: RwLock<HashMap<UserId, Instant>>,
    pushed: Mutex<Vec<Duration>>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            forward_us: AtomicU64::new(0),
            online: RwLock::default(),
            pushed: Mutex::default(),
        }
    }

    pub(crate) fn put_forward(&self, by: Duration) {
        self.forward_us.fetch_add(u64::try_from(by.as_micros()).expect("not that far"), Relaxed);
    }

    pub(crate) fn arrive(&self, user: &UserId) {
        self.online.write().expect("no panic").insert(user.clone(), Instant::now());
    }

    /// Waits until this many pushes were made. Returns the times from each arrival to its push, in order.
    pub(crate) async fn pushes(&self, count: usize) -> Vec<Duration> {
        loop {
            {
                let mut pushed = self.pushed.lock().expect("no panic");
                if pushed.len() >= count {
                    return std::mem::take(&mut *pushed);
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn leave(&self, user: &UserId) {
        self.online.write().expect("no panic").remove(user);
    }
}

impl Clock for World {
    fn now(&self) -> Timestamp {
        let forward = Duration::from_micros(self.forward_us.load(Relaxed));
        Timestamp::from_micros(1_700_000_000_000_000) + self.start.elapsed() + forward
    }
}

#[async_trait]
impl Presence for World {
    async fn is_online(&self, user: &UserId) -> bool {
        self.online.read().expect("no panic").contains_key(user)
    }
}

#[async_trait]
impl Pusher for World {
    async fn push(&self, n: &Notification, _: Attempt, _: Timestamp) -> Result<Pushed, PushError> {
        let now = Instant::now();
        let Some(arrived) = self.online.read().expect("no panic").get(&n.user_id).copied() else {
            return Ok(Pushed::Nobody);
        };
        self.pushed.lock().expect("no panic").push(now - arrived);
        Ok(Pushed::Written)
    }
}

/// The n-th user: a UUID, as in the simulation, and spread like random ones.
pub(crate) fn user(n: u64) -> UserId {
    UserId::from(Uuid::from_u64_pair(n.wrapping_mul(0x9E37_79B9_7F4A_7C15), n))
}

/// A notification of 200 bytes for the n-th user, which ends at the deadline.
pub(crate) fn notification(n: u64, now: Timestamp, deadline: Timestamp) -> Notification {
    thread_local! {
        static KIND: doorstep_domain::Kind = "reward.granted".parse().expect("a kind");
    }
    // Whole milliseconds, so that all end at the same moment.
    let ttl = Ttl::new(deadline.since(now)).expect("within a day");
    Notification {
        id: NotificationId::new(Uuid::from_u64_pair(n, n.wrapping_mul(0xD134_2543_DE82_EF95))),
        user_id: user(n),
        kind: KIND.with(Clone::clone),
        topic: None,
        payload: Payload::new(&format!("{n:0198}")).expect("a payload"),
        created_at: deadline - ttl.as_duration(),
        ttl: Some(ttl),
        trace: None,
    }
}
