//! A registry of live connections in memory, with clients that live in the same process: for tests of code that
//! delivers, and as an example of a registry of one's own. It passes [`presence_and_pusher`](crate::presence_and_pusher).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use async_trait::async_trait;
use doorstep_application::delivery::Delivery;
use doorstep_domain::ports::{Attempt, Clock, Presence, PushError, Pushed, Pusher};
use doorstep_domain::{Notification, NotificationId, Timestamp, UserId};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::DoorUnderTest;

/// How many notifications wait in one connection for its client to read them.
pub const QUEUE: usize = 32;

/// The registry.
pub struct MemoryDoor {
    connections: Mutex<HashMap<UserId, Vec<Connection>>>,
    delivery: OnceLock<Weak<Delivery>>,
    clock: Arc<MemoryClock>,
}

struct Connection {
    number: u64,
    queue: mpsc::Sender<(Notification, Timestamp)>,
    /// The attempt in which it got what it has not acknowledged.
    got: HashMap<NotificationId, Attempt>,
}

/// A client with one connection. Dropped without a word, it is noticed at the next push.
#[derive(Debug)]
pub struct MemoryClient {
    user: UserId,
    number: u64,
    queue: mpsc::Receiver<(Notification, Timestamp)>,
}

impl MemoryClient {
    /// Whose client it is.
    pub fn user(&self) -> &UserId {
        &self.user
    }
}

/// A clock that goes with tokio's: it stands still while that is paused.
#[derive(Debug)]
pub struct MemoryClock(Instant);

impl Default for MemoryClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for MemoryClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_750_000_000_000_000) + self.0.elapsed()
    }
}

impl Default for MemoryDoor {
    fn default() -> Self {
        Self {
            connections: Mutex::default(),
            delivery: OnceLock::new(),
            clock: Arc::new(MemoryClock::default()),
        }
    }
}

impl MemoryDoor {
    /// A registry together with the delivery that it reports to, with default rules.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn open() -> (Arc<Self>, Arc<Delivery>) {
        let door = Arc::new(Self::default());
        let delivery = Delivery::builder(door.clone(), door.clone(), door.clock.clone()).start();
        let delivery = Arc::new(delivery.expect("a tokio runtime"));
        door.reports_to(&delivery);
        (door, delivery)
    }

    /// A registry that tells nobody.
    pub(crate) fn mute() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// From now on this delivery is told of arrivals and acknowledgements.
    pub fn reports_to(&self, delivery: &Arc<Delivery>) {
        self.delivery.set(Arc::downgrade(delivery)).ok();
    }

    /// The clock by which it knows what is too late.
    pub fn clock(&self) -> Arc<MemoryClock> {
        self.clock.clone()
    }

    /// A user arrives.
    pub fn connect(&self, user: &UserId) -> MemoryClient {
        let (sender, queue) = mpsc::channel(QUEUE);
        let mut connections = self.connections();
        let theirs = connections.entry(user.clone()).or_default();
        let number = theirs.last().map_or(0, |last| last.number + 1);
        theirs.push(Connection { number, queue: sender, got: HashMap::new() });
        drop(connections);
        // Only now: it is visible.
        if let Some(delivery) = self.delivery() {
            delivery.arrived(user);
        }
        MemoryClient { user: user.clone(), number, queue }
    }

    /// The next notification that the client shows. Never returns if its connection has been closed.
    pub async fn next(&self, client: &mut MemoryClient) -> Notification {
        loop {
            let Some((n, deadline)) = client.queue.recv().await else {
                std::future::pending().await
            };
            if let Some(delivery) = self.delivery() {
                // There is room again.
                delivery.ready(&client.user);
            }
            if self.clock.now() < deadline {
                return n;
            }
        }
    }

    /// The newest of what the client could show. It comes again, and then what is older.
    pub(crate) async fn newest(&self, client: &mut MemoryClient) -> Notification {
        let mut all = vec![self.next(client).await];
        while let Ok((n, deadline)) = client.queue.try_recv() {
            if self.clock.now() < deadline {
                all.push(n);
            }
        }
        let newest = all.pop();
        let mut connections = self.connections();
        let theirs = connections.get_mut(&client.user).into_iter().flatten();
        for connection in theirs.filter(|connection| connection.number == client.number) {
            for older in &all {
                let _ = connection.queue.try_send((older.clone(), Timestamp::MAX));
            }
        }
        drop(connections);
        newest.unwrap_or_else(|| all.remove(0))
    }

    /// The client acknowledges.
    pub fn acknowledged(&self, client: &MemoryClient, id: NotificationId) {
        let mut connections = self.connections();
        let theirs = connections.get_mut(&client.user).into_iter().flatten();
        for connection in theirs.filter(|connection| connection.number == client.number) {
            connection.got.remove(&id);
        }
        drop(connections);
        if let Some(delivery) = self.delivery() {
            delivery.acknowledged(&client.user, id);
        }
    }

    /// The client leaves.
    pub fn disconnect(&self, client: MemoryClient) {
        let MemoryClient { user, number, .. } = client;
        self.forget(&user, |connection| connection.number == number);
        if let Some(delivery) = self.delivery() {
            delivery.departed(&user);
        }
    }

    /// Passes it to those connections of its user whose place is wanted.
    pub(crate) fn push_to(
        &self,
        n: &Notification,
        attempt: Attempt,
        deadline: Timestamp,
        wanted: impl Fn(usize) -> bool,
    ) -> Pushed {
        // A client that was dropped has left without a word.
        self.forget(&n.user_id, |connection| connection.queue.is_closed());
        let mut connections = self.connections();
        let Some(theirs) = connections.get_mut(&n.user_id) else { return Pushed::Nobody };
        let mut taken = false;
        for (_, connection) in theirs.iter_mut().enumerate().filter(|(place, _)| wanted(*place)) {
            if connection.got.get(&n.id).is_some_and(|got| *got >= attempt) {
                taken = true;
            } else if connection.queue.try_send((n.clone(), deadline)).is_ok() {
                connection.got.insert(n.id, attempt);
                taken = true;
            }
        }
        if taken { Pushed::InFlight } else { Pushed::Full }
    }

    fn forget(&self, user: &UserId, such: impl Fn(&Connection) -> bool) {
        let mut connections = self.connections();
        if let Some(theirs) = connections.get_mut(user) {
            theirs.retain(|connection| !such(connection));
            if theirs.is_empty() {
                connections.remove(user);
            }
        }
    }

    fn delivery(&self) -> Option<Arc<Delivery>> {
        self.delivery.get()?.upgrade()
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<UserId, Vec<Connection>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Presence for MemoryDoor {
    async fn is_online(&self, user: &UserId) -> bool {
        self.connections().contains_key(user)
    }
}

#[async_trait]
impl Pusher for MemoryDoor {
    async fn push(
        &self,
        n: &Notification,
        attempt: Attempt,
        deadline: Timestamp,
    ) -> Result<Pushed, PushError> {
        Ok(self.push_to(n, attempt, deadline, |_| true))
    }
}

#[async_trait]
impl DoorUnderTest for (Arc<MemoryDoor>, Arc<Delivery>) {
    type Client = MemoryClient;

    fn presence(&self) -> Arc<dyn Presence> {
        self.0.clone()
    }

    fn pusher(&self) -> Arc<dyn Pusher> {
        self.0.clone()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.0.clock()
    }

    fn delivery(&self) -> Arc<Delivery> {
        self.1.clone()
    }

    async fn open(&self, user: &UserId) -> MemoryClient {
        self.0.connect(user)
    }

    async fn shown(&self, client: &mut MemoryClient) -> NotificationId {
        self.0.next(client).await.id
    }

    async fn acknowledge(&self, client: &mut MemoryClient, id: NotificationId) {
        self.0.acknowledged(client, id);
    }

    async fn close(&self, client: MemoryClient) {
        self.0.disconnect(client);
    }

    fn fills_after(&self) -> Option<usize> {
        Some(QUEUE)
    }
}
