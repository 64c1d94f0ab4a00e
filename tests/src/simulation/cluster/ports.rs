//! The simulated ports of one life of one node. After its death they have no effect.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use doorstep_application::delivery::Delivery;
use doorstep_domain::ports::{
    Attempt, Clock, EnteredBy, Inbox, InboxItem, Log as _, Outcomes, Presence, PushError, Pushed,
    Pusher, Removed, StoreError, Which,
};
use doorstep_domain::{
    Ended, LogKey, Notification, NotificationId, Outcome, Timestamp, Topic, UserId,
};
use tokio::time::Instant;

use super::world::{World, short, user};
use crate::memory_log::MemoryNode;

pub(super) struct Ports {
    pub(super) world: Arc<World>,
    pub(super) node: usize,
    pub(super) life: u64,
    pub(super) way: MemoryNode,
    pub(super) delivery: OnceLock<Weak<Delivery>>,
}

impl Ports {
    fn is_gone(&self) -> bool {
        self.world.state().node_lives[self.node] != self.life
    }

    async fn unless_gone(&self) {
        if self.is_gone() {
            std::future::pending::<()>().await;
        }
    }

    /// A client acknowledges what it was handed, after a while, unless the acknowledgement is lost.
    fn acknowledge_later(&self, connection: u64, whose: &UserId, id: NotificationId) {
        let (lost, after) = {
            let mut state = self.world.state();
            (state.dice.one_in(8), Duration::from_millis(state.dice.below(60)))
        };
        let Some(delivery) = self.delivery.get().cloned() else { return };
        let (world, whose, node, life) = (self.world.clone(), whose.clone(), self.node, self.life);
        if lost {
            return;
        }
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let there = {
                let state = world.state();
                state.node_lives[node] == life && state.connections.contains_key(&connection)
            };
            if let (true, Some(delivery)) = (there, delivery.upgrade()) {
                let first = delivery.acknowledged(&whose, id);
                world.tell(|| format!("{} is acknowledged at node {node} ({first})", short(id)));
            }
        });
    }

    /// What must hold when a push begins.
    async fn check_push(&self, n: &Notification) {
        let key = LogKey::Notification(n.id);
        let entry = self.world.eye.get(key).await.ok().flatten();
        let now = self.world.eye.now();
        let mut state = self.world.state();
        let calm = state.is_calm(self.node);
        let Some(life) = state.lives.get(&n.id) else { return };
        if life.promoted {
            return;
        }
        let mut broken = None;
        if let Some((_, accepted)) = life.in_log
            && now >= accepted + life.ttl()
        {
            broken = Some("after its TTL");
        }
        if let Some(entry) = entry
            && let Ok(doorstep_application::cluster::ClusterEntry::Ended { .. }) =
                doorstep_application::cluster::ClusterEntry::decode(key, &entry.bytes)
            && calm
            && now > entry.time
        {
            broken = Some("after its end had come by");
        }
        if let Some(how) = broken {
            let what = format!("node {} pushes {} {how}", self.node, short(n.id));
            state.break_promise(what);
        }
    }
}

impl Clock for Ports {
    fn now(&self) -> Timestamp {
        self.way.now()
    }
}

#[async_trait]
impl Presence for Ports {
    async fn is_online(&self, whose: &UserId) -> bool {
        self.unless_gone().await;
        let state = self.world.state();
        state.connections.values().any(|c| c.node == self.node && user(c.user) == *whose)
    }

    async fn is_reading(&self, whose: &UserId) -> bool {
        self.is_online(whose).await
    }
}

/// What the other nodes say.
pub(super) struct Elsewhere(pub(super) Arc<Ports>);

#[async_trait]
impl Presence for Elsewhere {
    async fn is_online(&self, whose: &UserId) -> bool {
        let Self(ports) = self;
        ports.unless_gone().await;
        let state = ports.world.state();
        state.connections.values().any(|c| c.node != ports.node && user(c.user) == *whose)
    }
}

#[async_trait]
impl Pusher for Ports {
    async fn push(
        &self,
        n: &Notification,
        attempt: Attempt,
        deadline: Timestamp,
    ) -> Result<Pushed, PushError> {
        self.unless_gone().await;
        self.check_push(n).await;
        let (fails, slow) = {
            let mut state = self.world.state();
            let unlucky = state.pushes_fail && state.dice.one_in(3);
            if unlucky {
                let until = Instant::now() + Duration::from_secs(5);
                state.pushes_trouble_until = state.pushes_trouble_until.max(until);
            }
            (unlucky && state.dice.one_in(2), unlucky.then(|| state.dice.below(1500)))
        };
        if fails {
            return Err(PushError("simulated".into()));
        }
        if let Some(slow) = slow {
            tokio::time::sleep(Duration::from_millis(slow)).await;
            self.unless_gone().await;
        }
        if self.now() >= deadline {
            return Ok(Pushed::Nobody);
        }
        self.world.look().await;
        let (pushed, to_ack) = self.world.state().hand(self.node, n, attempt);
        let node = self.node;
        self.world.tell(|| format!("node {node} pushed {}: {pushed:?}", short(n.id)));
        for connection in to_ack {
            self.acknowledge_later(connection, &n.user_id, n.id);
        }
        Ok(pushed)
    }
}

#[async_trait]
impl Outcomes for Ports {
    async fn ended(&self, ended: Vec<Ended>) {
        self.unless_gone().await;
        for end in ended {
            let node = self.node;
            self.world.tell(|| {
                format!("node {node} tells that {} ended as {}", short(end.id), end.outcome)
            });
            let mut state = self.world.state();
            let Some(life) = state.lives.get_mut(&end.id) else { continue };
            if end.outcome == Outcome::Rejected {
                continue;
            }
            life.told.push((self.node, self.life, end.outcome));
            life.promoted |= end.outcome == Outcome::Promoted;
            let mut broken = None;
            if life.told.len() > 1 {
                broken = Some(format!("{} has two outcomes: {:?}", short(end.id), life.told));
            } else if end.outcome == Outcome::Delivered && !life.written {
                broken = Some(format!("{} is delivered, and nobody had it", short(end.id)));
            }
            if let Some(what) = broken {
                state.break_promise(what);
            }
        }
    }
}

#[async_trait]
impl Inbox for Ports {
    async fn add(&self, notifications: &[Notification], by: EnteredBy) -> Result<(), StoreError> {
        self.unless_gone().await;
        for n in notifications {
            // Whoever writes it must have won that before.
            let key = LogKey::Notification(n.id);
            let entry = self.world.eye.get(key).await.ok().flatten();
            let entry = entry.map(|entry| {
                doorstep_application::cluster::ClusterEntry::decode(key, &entry.bytes)
            });
            if let Some(Ok(doorstep_application::cluster::ClusterEntry::Accepted { .. })) = entry {
                let what = format!("{} is written to the inbox before that was won", short(n.id));
                self.world.state().break_promise(what);
            }
            if let Some(life) = self.world.state().lives.get_mut(&n.id) {
                life.promoted = true;
            }
        }
        self.world.stores.add(notifications, by).await
    }

    async fn undelivered(&self, user: &UserId, limit: usize) -> Result<Vec<InboxItem>, StoreError> {
        self.unless_gone().await;
        self.world.stores.undelivered(user, limit).await
    }

    async fn mark_delivered(
        &self,
        items: &[(UserId, NotificationId)],
        at: Timestamp,
    ) -> Result<Vec<NotificationId>, StoreError> {
        self.unless_gone().await;
        self.world.stores.mark_delivered(items, at).await
    }

    async fn page(
        &self,
        user: &UserId,
        unread_only: bool,
        before: Option<NotificationId>,
        limit: usize,
    ) -> Result<Vec<InboxItem>, StoreError> {
        self.unless_gone().await;
        self.world.stores.page(user, unread_only, before, limit).await
    }

    async fn mark_read(
        &self,
        user: &UserId,
        which: Which,
        at: Timestamp,
    ) -> Result<Option<Vec<InboxItem>>, StoreError> {
        self.unless_gone().await;
        self.world.stores.mark_read(user, which, at).await
    }

    async fn unread(&self, user: &UserId) -> Result<u64, StoreError> {
        self.unless_gone().await;
        self.world.stores.unread(user).await
    }

    async fn remove(&self, id: NotificationId) -> Result<Option<Removed>, StoreError> {
        self.unless_gone().await;
        self.world.stores.remove(id).await
    }

    async fn remove_undelivered(
        &self,
        user: &UserId,
        topic: Option<Topic>,
    ) -> Result<Vec<InboxItem>, StoreError> {
        self.unless_gone().await;
        self.world.stores.remove_undelivered(user, topic).await
    }
}
