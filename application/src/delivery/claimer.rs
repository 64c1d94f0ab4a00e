//! A running node takes up notifications that a stopped node left: those of a user who arrives here or is here
//! already, and those whose TTL has ended.
//!
//! A flag says whether the store may hold any. While it is not set, an arrival costs nothing. If other processes
//! share the store, one cheap query per second refreshes the flag; otherwise there is no query.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use doorstep_domain::ports::{Handover, StoreError};
use doorstep_domain::{Ended, Notification, NotificationId, Outcome, UserId};
use tokio::sync::{Notify, RwLock, RwLockWriteGuard};

use super::context::Context;
use super::handover::{BATCH, HANDOVER};
use super::sync::Mutex;
use super::wake::Wake;

/// The interval of the query, and of retries.
const EVERY: Duration = Duration::from_secs(1);
/// How many pages of the store one round compares with the users who are here; the first round reads all pages.
const PAGES: usize = 10;

/// How many times the store is asked to take something back.
const TRIES: u32 = 30;

/// Claims what stopped nodes left, for one node.
pub(super) struct Claimer {
    cx: Arc<Context>,
    wake: Arc<Wake>,
    store: Arc<dyn Handover>,
    /// Other nodes may leave something there at any time.
    is_shared: bool,
    /// The store may hold something.
    left: AtomicBool,
    /// Wakes the loop when `left` is set outside it.
    bell: Notify,
    /// The node is handing over: anything claimed from now on goes back.
    closed: Mutex<bool>,
    /// Read while something is taken out of the store and put into mailboxes.
    moving: RwLock<()>,
}

/// While it is held, nothing is claimed.
pub(super) struct Still<'a> {
    claimer: &'a Claimer,
    _still: RwLockWriteGuard<'a, ()>,
}

impl Still<'_> {
    /// Takes one out of the store: its sender takes it back.
    pub(super) async fn take_one(
        &self,
        id: NotificationId,
    ) -> Result<Option<Notification>, StoreError> {
        let Claimer { cx, store, .. } = self.claimer;
        cx.guarded(HANDOVER, store.take_one(id)).await
    }
}

impl Claimer {
    pub(super) fn new(cx: Arc<Context>, wake: Arc<Wake>, store: Arc<dyn Handover>) -> Arc<Self> {
        let (left, bell, closed) = (AtomicBool::new(false), Notify::new(), Mutex::new(false));
        let is_shared = store.is_shared();
        let moving = RwLock::default();
        Arc::new(Self { cx, wake, store, is_shared, left, bell, closed, moving })
    }

    pub(super) fn start(self: &Arc<Self>) {
        let this = self.clone();
        self.cx.tasks.spawn(async move {
            this.cx.tasks.keep_going("check of the handover store", || this.keep_looking()).await;
        });
    }

    /// The store holds something that this node had no room for.
    pub(super) fn something_is_left(&self) {
        self.left.store(true, SeqCst);
        self.bell.notify_one();
    }

    /// A user arrived. If the store may hold something, the user's part is claimed first, so that it is pushed in
    /// order with what waits here. The user waits for the store no longer than for the inbox.
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

    /// From now on nothing is put into a mailbox: the node hands over what is there.
    pub(super) fn close(&self) {
        *self.closed.lock() = true;
    }

    /// Claims in a task of its own. The claim must finish even if the caller stops waiting, because it may already
    /// have taken something out of the store.
    async fn claim_in_background(this: &Arc<Self>, user: &UserId) {
        let (done, wait) = tokio::sync::oneshot::channel();
        let (claimer, user) = (this.clone(), user.clone());
        this.cx.tasks.spawn(async move {
            claimer.claim(&user).await;
            done.send(()).ok();
        });
        wait.await.ok();
    }

    /// Keeps everything in its place while a sender takes something back: nothing is between the store and the
    /// mailboxes. `None` if the store holds nothing.
    pub(super) async fn hold_still(&self) -> Result<Option<Still<'_>>, StoreError> {
        if !self.left.load(SeqCst) && !self.is_shared {
            return Ok(None);
        }
        let patience = self.cx.limits.inbox_patience;
        match tokio::time::timeout(patience, self.moving.write()).await {
            Ok(still) => Ok(Some(Still { claimer: self, _still: still })),
            Err(elapsed) => {
                Err(StoreError::Unavailable(format!("the {HANDOVER}: {elapsed}").into()))
            }
        }
    }

    /// Claims what the store holds for this user, so that it can be recalled here.
    pub(super) async fn claim_for_recall(self: &Arc<Self>, user: &UserId) {
        if self.left.load(SeqCst) || self.is_shared {
            Self::claim_in_background(self, user).await;
        }
    }

    /// Takes up what the store holds for this user, as far as this node has room.
    async fn claim(self: &Arc<Self>, user: &UserId) {
        loop {
            let limit = self.cx.capacity.free().min(BATCH);
            if limit == 0 || self.cx.tasks.stop().is_cancelled() {
                return;
            }
            let _moving = self.moving.read().await;
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

    /// Puts notifications from the store into mailboxes. Returns false if some had no room; those go back.
    pub(super) async fn put_in(self: &Arc<Self>, batch: Vec<Notification>) -> bool {
        let mut ended = Vec::new();
        let mut back = Vec::new();
        {
            // Under the lock, so that nothing is put in after the handover has begun.
            let closed = self.closed.lock();
            for n in batch {
                if *closed || !self.cx.capacity.enter(&n.kind, n.payload.as_str().len()) {
                    back.push(n);
                } else {
                    self.wake.claimed(self.cx.taken_in(n), &mut ended);
                }
            }
        }
        self.cx.tell(ended);
        self.give_back(&back).await;
        back.is_empty()
    }

    /// Returns notifications to the store, for other nodes or for later. Those that the store does not take back
    /// end as `dropped`.
    async fn give_back(&self, back: &[Notification]) {
        if back.is_empty() {
            return;
        }
        self.something_is_left();
        for _ in 0..TRIES {
            match self.cx.guarded(HANDOVER, self.store.leave(back)).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(%error, count = back.len(), "could not return notifications to the handover store");
                    tokio::time::sleep(EVERY).await;
                }
            }
        }
        let end = |n| self.cx.endings.end_here(n, Outcome::Dropped);
        self.cx.tell(back.iter().map(end).collect());
    }

    /// Checks the store and handles what it holds, until the node stops.
    async fn keep_looking(self: &Arc<Self>) {
        let stop = self.cx.tasks.stop().clone();
        let mut after = 0;
        let mut failing = false;
        loop {
            let turn = async {
                if !self.left.load(SeqCst) && !self.is_shared {
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
            // Logged once, not every second, while the store is unavailable.
            if let (Err(error), false) = (&seen_to, failing) {
                tracing::warn!(%error, "could not look for what a stopped node left; trying again");
            }
            failing = seen_to.is_err();
        }
    }

    /// Ends what has expired, and claims what belongs to users who are here. `after` is where the last round ended.
    async fn see_to_it(self: &Arc<Self>, after: &mut u64) -> Result<(), StoreError> {
        let first = self.cx.guarded(HANDOVER, self.store.look(0, 1)).await?;
        let before = self.left.swap(!first.is_empty(), SeqCst);
        if first.is_empty() {
            *after = 0;
            return Ok(());
        }
        self.end_expired().await?;
        // The first round reads all of it: until the flag was set, no arrival claimed anything.
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

    /// Ends what expired in the store, as the rule of its kind says.
    async fn end_expired(self: &Arc<Self>) -> Result<(), StoreError> {
        while !self.cx.tasks.stop().is_cancelled() {
            let _moving = self.moving.read().await;
            // The store keeps the time of day.
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
                        self.wake.ttl_ended(self.cx.taken_in(n), &mut ended);
                    }
                }
            }
            self.cx.tell(ended);
            self.give_back(&back).await;
            if count < BATCH {
                break;
            }
        }
        Ok(())
    }
}
