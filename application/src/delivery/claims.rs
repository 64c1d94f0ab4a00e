//! What a stopped node left is taken up by the nodes that run: where its user arrives or is already, and, if its
//! TTL has ended, by any of them.
//!
//! A flag says whether something may be left. While it is not set, an arrival costs nothing. It is refreshed by
//! one cheap look a second where other processes may leave something at any time, and not at all where nobody
//! can.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use doorstep_domain::ports::{Handover, StoreError};
use doorstep_domain::{Ended, Notification, Outcome, UserId};
use tokio::sync::Notify;

use super::context::Context;
use super::handover::{BATCH, HANDOVER};
use super::sync::Mutex;
use super::wake::Wake;

/// How often it is looked whether something is left.
const EVERY: Duration = Duration::from_secs(1);
/// How many pages of what is left are compared with those who are here in one turn, after the first turn.
const PAGES: usize = 10;

/// How often the store is asked to take something back.
const TRIES: u32 = 30;

/// The claims of one node on what is left.
pub(super) struct Claims {
    cx: Arc<Context>,
    wake: Arc<Wake>,
    store: Arc<dyn Handover>,
    /// Something may be left.
    left: AtomicBool,
    /// Rung when `left` is set from elsewhere than the loop that looks.
    bell: Notify,
    /// The node hands over what it has: what is claimed from here on goes back.
    closed: Mutex<bool>,
}

impl Claims {
    pub(super) fn new(cx: Arc<Context>, wake: Arc<Wake>, store: Arc<dyn Handover>) -> Arc<Self> {
        let (left, bell, closed) = (AtomicBool::new(false), Notify::new(), Mutex::new(false));
        Arc::new(Self { cx, wake, store, left, bell, closed })
    }

    pub(super) fn start(self: &Arc<Self>) {
        let this = self.clone();
        self.cx.tasks.spawn(async move {
            this.cx.tasks.keep_going("look for what is left", || this.keep_looking()).await;
        });
    }

    /// Something was left that this node had no room for.
    pub(super) fn something_is_left(&self) {
        self.left.store(true, SeqCst);
        self.bell.notify_one();
    }

    /// A user arrived. While something may be left, what is theirs is claimed first, so that it comes in order
    /// with what waits here; but they do not wait for the store longer than for the inbox.
    pub(super) fn arrived(self: &Arc<Self>, user: &UserId) {
        if !self.left.load(SeqCst) {
            self.wake.arrived(user);
            return;
        }
        let (this, user) = (self.clone(), user.clone());
        self.cx.tasks.spawn(async move {
            let claim = Self::claim_in_background(&this, &user);
            tokio::time::timeout(this.cx.limits.inbox_patience, claim).await.ok();
            this.wake.arrived(&user);
        });
    }

    /// Nothing is put into a mailbox any more: the node hands over what is there.
    pub(super) fn close(&self) {
        *self.closed.lock() = true;
    }

    /// A claim that goes on when its caller does not wait for it any more: half-way it has taken something.
    async fn claim_in_background(this: &Arc<Self>, user: &UserId) {
        let (done, wait) = tokio::sync::oneshot::channel();
        let (claims, user) = (this.clone(), user.clone());
        this.cx.tasks.spawn(async move {
            claims.claim(&user).await;
            done.send(()).ok();
        });
        wait.await.ok();
    }

    /// Takes up what is left for this user, as far as this node has room.
    async fn claim(self: &Arc<Self>, user: &UserId) {
        loop {
            let limit = self.cx.capacity.room().min(BATCH);
            if limit == 0 || self.cx.tasks.stop().is_cancelled() {
                return;
            }
            match self.cx.guarded(HANDOVER, self.store.take_for(user, limit)).await {
                Ok(batch) if batch.is_empty() => return,
                Ok(batch) => {
                    let (count, user) = (batch.len(), user.clone());
                    tracing::info!(count, %user, "claimed what a stopped node left");
                    let all = self.put_in(batch).await;
                    self.wake.flush_later(&user);
                    if !all || count < limit {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, %user, "could not claim what was left; trying again later");
                    return;
                }
            }
        }
    }

    /// Puts what was taken into mailboxes. What this node has no room for goes back; false if there was such.
    pub(super) async fn put_in(self: &Arc<Self>, batch: Vec<Notification>) -> bool {
        let mut ended = Vec::new();
        let mut back = Vec::new();
        {
            // Under the lock, so that nothing is put in behind the back of a handover.
            let closed = self.closed.lock();
            for n in batch {
                if *closed || !self.cx.capacity.enter(&n.kind, n.payload.as_str().len()) {
                    back.push(n);
                } else {
                    self.wake.claimed(self.cx.taken_in(n), &mut ended);
                }
            }
        }
        self.cx.tell(ended).await;
        self.give_back(&back).await;
        back.is_empty()
    }

    /// Leaves what was taken in vain for others, and for later. What the store does not take back is lost.
    async fn give_back(&self, back: &[Notification]) {
        if back.is_empty() {
            return;
        }
        self.something_is_left();
        for _ in 0..TRIES {
            match self.cx.guarded(HANDOVER, self.store.leave(back)).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(%error, count = back.len(), "could not give back what was left");
                    tokio::time::sleep(EVERY).await;
                }
            }
        }
        let end = |n| self.cx.endings.end(n, Outcome::Dropped);
        self.cx.tell(back.iter().map(end).collect()).await;
    }

    /// Looks whether something is left, and sees to it, until the node stops.
    async fn keep_looking(self: &Arc<Self>) {
        let stop = self.cx.tasks.stop().clone();
        let mut after = 0;
        let mut failing = false;
        loop {
            let turn = async {
                if !self.left.load(SeqCst) && !self.store.is_shared() {
                    self.bell.notified().await;
                }
                tokio::time::sleep(EVERY).await;
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = turn => {}
            }
            let seen_to = self.see_to_it(&mut after).await;
            // Once, and not every second while the store is away.
            if let (Err(error), false) = (&seen_to, failing) {
                tracing::warn!(%error, "could not look for what a stopped node left; trying again");
            }
            failing = seen_to.is_err();
        }
    }

    /// Ends what has expired, and claims what is for users who are here. `after` is where the last turn ended.
    async fn see_to_it(self: &Arc<Self>, after: &mut u64) -> Result<(), StoreError> {
        let first = self.cx.guarded(HANDOVER, self.store.look(0, 1)).await?;
        let before = self.left.swap(!first.is_empty(), SeqCst);
        if first.is_empty() {
            *after = 0;
            return Ok(());
        }
        self.end_expired().await?;
        // The first turn goes through all of it, as nobody has claimed anything of it by arriving.
        let pages = if before { PAGES } else { usize::MAX };
        for _ in 0..pages {
            if self.cx.tasks.stop().is_cancelled() {
                break;
            }
            let page = self.cx.guarded(HANDOVER, self.store.look(*after, BATCH)).await?;
            *after = if page.len() < BATCH { 0 } else { page.last().map_or(0, |left| left.place) };
            let users: HashSet<UserId> = page.into_iter().map(|left| left.user).collect();
            for user in &users {
                if self.cx.is_online(user).await {
                    self.claim(user).await;
                }
            }
            if *after == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Ends what has expired while nobody had it, as its rule says.
    async fn end_expired(self: &Arc<Self>) -> Result<(), StoreError> {
        while !self.cx.tasks.stop().is_cancelled() {
            // What is in the store has the time of day.
            let now = self.cx.clock.wall();
            let batch = self.cx.guarded(HANDOVER, self.store.take_expired(now, BATCH)).await?;
            let count = batch.len();
            let mut ended: Vec<Ended> = Vec::new();
            let mut back = Vec::new();
            {
                let closed = self.closed.lock();
                for n in batch {
                    if *closed {
                        back.push(n);
                    } else {
                        self.wake.over(self.cx.taken_in(n), &mut ended);
                    }
                }
            }
            self.cx.tell(ended).await;
            self.give_back(&back).await;
            if count < BATCH {
                break;
            }
        }
        Ok(())
    }
}
