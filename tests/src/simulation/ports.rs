//! The simulated ports of one life of the node. After the node's death they have no effect: an action that a
//! killed process had started does not happen.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use doorstep_domain::ports::{
    Attempt, Clock, EnteredBy, Handover, Inbox, InboxItem, Left, Outcomes, Presence, PushError,
    Pushed, Pusher, Removed, StoreError, Which,
};
use doorstep_domain::{Ended, Notification, NotificationId, Outcome, Timestamp, Topic, UserId};
use tokio::time::Instant;

use super::client;
use super::world::{Pushes, World, short, user};

/// How old a page of the inbox may be when it comes. Less than `inbox_patience`.
const SLOWEST_ANSWER_MS: u64 = 200;

pub(super) struct Ports {
    world: Arc<World>,
    life: u64,
}

impl Ports {
    pub(super) fn new(world: &Arc<World>) -> Arc<Self> {
        let life = world.state().node_life;
        Arc::new(Self { world: world.clone(), life })
    }

    async fn unless_gone(&self) {
        if self.world.state().node_life != self.life {
            std::future::pending::<()>().await;
        }
    }

    /// Sometimes a user connects or disconnects at the worst moment: while the response is on its way.
    fn meanwhile(&self, whose: &UserId) {
        let who = (0..super::world::USERS).find(|n| user(*n) == *whose);
        let (luck, delivery) = {
            let mut state = self.world.state();
            let luck = if state.quiet { u64::MAX } else { state.dice.below(24) };
            (luck, state.delivery.upgrade())
        };
        if let (Some(who), Some(delivery)) = (who, delivery) {
            match luck {
                0 | 1 => client::connect_to(&self.world, &delivery, who, luck == 0),
                2 => client::disconnect_from(&self.world, &delivery, who),
                _ => {}
            }
        }
    }
}

#[async_trait]
impl Presence for Ports {
    async fn is_online(&self, whose: &UserId) -> bool {
        self.unless_gone().await;
        let answer = self.world.state().connections.values().any(|c| user(c.user) == *whose);
        self.meanwhile(whose);
        answer
    }

    async fn is_reading(&self, whose: &UserId) -> bool {
        self.unless_gone().await;
        let who = (0..super::world::USERS).find(|n| user(*n) == *whose);
        who.is_some_and(|who| self.world.state().is_reading(who))
    }
}

#[async_trait]
impl Pusher for Ports {
    #[expect(clippy::similar_names, reason = "the request to a pusher, and its result")]
    async fn push(
        &self,
        n: &Notification,
        attempt: Attempt,
        deadline: Timestamp,
    ) -> Result<Pushed, PushError> {
        self.unless_gone().await;
        let (pushes, while_slow) = {
            let mut state = self.world.state();
            state.begin_push(n.id, self.world.now() < deadline);
            let unlucky = state.dice.one_in(4);
            let while_slow = Duration::from_millis(1 + state.dice.below(1500));
            if unlucky && state.pushes != Pushes::Go {
                // The timeout of a push, and the pause before the next.
                state.trouble_until =
                    state.trouble_until.max(Instant::now() + Duration::from_secs(4));
            }
            (if unlucky { state.pushes } else { Pushes::Go }, while_slow)
        };
        if pushes != Pushes::Go {
            self.world.tell(|| format!("the push of {} goes {pushes:?}", short(n.id)));
        }
        match pushes {
            Pushes::Go | Pushes::SlowAnswer => {}
            Pushes::Slow => {
                tokio::time::sleep(while_slow).await;
                self.unless_gone().await;
            }
            Pushes::Hang => std::future::pending().await,
            Pushes::Fail => return Err(PushError("simulated".into())),
        }
        if self.world.now() >= deadline {
            return Ok(Pushed::Nobody);
        }
        let pushed = self.world.state().hand(n, attempt, self.world.now());
        let count = attempt.number();
        self.world.tell(|| format!("pushed {} (attempt {count}): {pushed:?}", short(n.id)));
        self.meanwhile(&n.user_id);
        if pushes == Pushes::SlowAnswer {
            tokio::time::sleep(while_slow).await;
            self.unless_gone().await;
        }
        Ok(pushed)
    }
}

#[async_trait]
impl Outcomes for Ports {
    async fn ended(&self, ended: Vec<Ended>) {
        self.unless_gone().await;
        for end in &ended {
            self.world.tell(|| format!("ended {} as {}", short(end.id), end.outcome));
        }
        let mut state = self.world.state();
        for end in ended {
            let not_reading = state.not_reading.clone();
            let Some(life) = state.lives.get_mut(&end.id) else {
                state.break_promise(format!("{} ended and was never sent", end.id));
                continue;
            };
            if end.outcome == Outcome::Dropped && !not_reading.contains(&life.user) {
                let what = format!("{} was dropped, and its user reads", end.id);
                state.break_promise(what);
                continue;
            }
            if let Some(before) = life.outcome.replace(end.outcome) {
                let what = format!("{} ended as {before} and then as {}", end.id, end.outcome);
                state.break_promise(what);
                continue;
            }
            match end.outcome {
                Outcome::Expired | Outcome::Promoted if life.taken => {
                    let what =
                        format!("{} was written in time, and ended as {}", end.id, end.outcome);
                    state.break_promise(what);
                }
                Outcome::Promoted => life.in_inbox = true,
                Outcome::Delivered if !life.written => {
                    state.break_promise(format!("{} is delivered and nobody had it", end.id));
                }
                _ => {}
            }
        }
    }
}

#[async_trait]
impl Inbox for Ports {
    async fn add(&self, notifications: &[Notification], by: EnteredBy) -> Result<(), StoreError> {
        self.unless_gone().await;
        self.world.stores.add(notifications, by).await
    }

    async fn undelivered(&self, user: &UserId, limit: usize) -> Result<Vec<InboxItem>, StoreError> {
        self.unless_gone().await;
        let page = self.world.stores.undelivered(user, limit).await;
        // The answer may be old when it comes.
        let late = {
            let mut state = self.world.state();
            let late = if state.dice.one_in(4) { state.dice.below(SLOWEST_ANSWER_MS) } else { 0 };
            let late = Duration::from_millis(late);
            state.trouble_until = state.trouble_until.max(Instant::now() + late);
            late
        };
        if !late.is_zero() {
            tokio::time::sleep(late).await;
            self.unless_gone().await;
        }
        page
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

#[async_trait]
impl Handover for Ports {
    async fn leave(&self, waiting: &[Notification]) -> Result<(), StoreError> {
        self.unless_gone().await;
        self.world.stores.leave(waiting).await
    }

    async fn take(&self, limit: usize) -> Result<Vec<Notification>, StoreError> {
        self.unless_gone().await;
        self.world.stores.take(limit).await
    }
    async fn take_for(&self, user: &UserId, limit: usize) -> Result<Vec<Notification>, StoreError> {
        self.unless_gone().await;
        self.world.stores.take_for(user, limit).await
    }

    async fn take_one(&self, id: NotificationId) -> Result<Option<Notification>, StoreError> {
        self.unless_gone().await;
        self.world.stores.take_one(id).await
    }

    async fn take_expired(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Notification>, StoreError> {
        self.unless_gone().await;
        self.world.stores.take_expired(now, limit).await
    }

    async fn look(&self, after: u64, limit: usize) -> Result<Vec<Left>, StoreError> {
        self.unless_gone().await;
        self.world.stores.look(after, limit).await
    }

    fn is_shared(&self) -> bool {
        true
    }
}
