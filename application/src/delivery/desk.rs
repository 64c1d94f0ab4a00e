//! The inbox at work: what is written first, what is brought to who arrives, what is marked and promoted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use doorstep_domain::ports::{EnteredBy, Inbox, StoreError, Which};
use doorstep_domain::{Ended, Notification, NotificationId, Outcome, UserId};
use tokio::sync::Notify;

use super::Refused;
use super::receipt::Acceptance;
use super::sync::Mutex;
use super::wake::{PAGE, Wake};

/// The largest write to the store.
const BATCH: usize = 1000;
/// How long one write may take before it is tried again.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// The first and the longest pause after a write that failed.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// When to come back to an arrived user whose inbox did not answer.
const LOOK_LATER: Duration = Duration::from_secs(5);

/// Two trays between the mailboxes and the store. What lies in them is counted by the node's limits.
pub(super) struct Desk {
    store: Arc<dyn Inbox>,
    /// Delivered, and the store is to be told.
    to_mark: Mutex<VecDeque<(UserId, NotificationId)>>,
    mark_bell: Notify,
    /// Expired, and on the way to the inbox.
    to_promote: Mutex<VecDeque<Notification>>,
    promote_bell: Notify,
}

impl Desk {
    pub(super) fn new(store: Arc<dyn Inbox>) -> Self {
        Self {
            store,
            to_mark: Mutex::default(),
            mark_bell: Notify::new(),
            to_promote: Mutex::default(),
            promote_bell: Notify::new(),
        }
    }

    pub(super) fn mark(&self, user: UserId, id: NotificationId) {
        self.to_mark.lock().push_back((user, id));
        self.mark_bell.notify_one();
    }

    /// The caller has counted it at the gate.
    pub(super) fn promote(&self, n: Notification) {
        self.to_promote.lock().push_back(n);
        self.promote_bell.notify_one();
    }

    /// What has not been promoted when the node stops.
    pub(super) fn unpromoted(&self) -> Vec<Notification> {
        self.to_promote.lock().drain(..).collect()
    }
}

/// Takes what lies at the front of a tray, and leaves it there: only what is written is taken away.
fn first<T: Clone>(tray: &Mutex<VecDeque<T>>) -> Vec<T> {
    tray.lock().iter().take(BATCH).cloned().collect()
}

fn take_away<T>(tray: &Mutex<VecDeque<T>>, count: usize) {
    let mut tray = tray.lock();
    let count = count.min(tray.len());
    tray.drain(..count);
    if tray.is_empty() {
        tray.shrink_to(BATCH);
    }
}

impl Wake {
    fn desk(&self) -> &Desk {
        self.desk.as_ref().expect("only called where an inbox is configured")
    }

    /// The policy `inbox`: written before it is pushed.
    pub(super) async fn keep(self: &Arc<Self>, n: Notification) -> Result<Acceptance, Refused> {
        let Some(desk) = &self.desk else { return Err(Refused::NoInbox) };
        if let Err(error) = desk.store.add(std::slice::from_ref(&n), EnteredBy::Policy).await {
            // It may have been written all the same, so it has no outcome: the sender asks again.
            tracing::warn!(notification = %n.id, %error, "could not write to the inbox");
            return Err(Refused::Store(error));
        }
        self.look_if_online(&n.user_id);
        Ok(Acceptance::Waiting)
    }

    /// Brings what the inbox has to a user who is there. One who is not costs nothing.
    fn look_if_online(self: &Arc<Self>, user: &UserId) {
        let (this, user) = (self.clone(), user.clone());
        self.cx.tasks.now_or_later(async move {
            if this.cx.is_online(&user).await {
                this.rooms.with(&user, (0, 0), |room| room.look_into_inbox(&user));
                this.flush(&user);
            }
        });
    }

    /// Loads a page of what the user has not had. If the store takes too long, what waits in memory goes
    /// first, and somebody comes back.
    pub(super) async fn look(self: &Arc<Self>, user: &UserId) {
        let patience = self.cx.limits.inbox_patience;
        let page = self.desk().store.undelivered(user, PAGE);
        let why = match tokio::time::timeout(patience, page).await {
            Ok(Ok(items)) => {
                let more = items.len() >= PAGE;
                self.rooms.with(user, (0, 0), |room| room.looked(user, items, more));
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(elapsed) => elapsed.to_string(),
        };
        tracing::warn!(user = %user, error = %why, "the inbox did not answer; looking again later");
        if self.rooms.with(user, (0, 0), |room| room.look_failed(user)) {
            let (this, user) = (self.clone(), user.clone());
            self.cx.tasks.spawn(async move {
                tokio::select! {
                    biased;
                    () = this.cx.tasks.stop().cancelled() => return,
                    () = tokio::time::sleep(LOOK_LATER) => {}
                }
                let there = this.cx.is_online(&user).await;
                this.rooms.with(&user, (0, 0), |room| room.look_again_now(&user, there));
                this.flush(&user);
            });
        }
    }

    /// Tells the store what was delivered, in batches, until the node stops.
    pub(super) async fn keep_marking(self: Arc<Self>) {
        let desk = self.desk();
        loop {
            let batch = first(&desk.to_mark);
            if batch.is_empty() {
                if self.stopped_while(desk.mark_bell.notified()).await {
                    return;
                }
                continue;
            }
            let at = self.cx.clock.now();
            let write = || desk.store.mark_delivered(&batch, at);
            if !self.insist("mark what was delivered", write).await {
                return;
            }
            take_away(&desk.to_mark, batch.len());
            for (user, id) in &batch {
                if self.rooms.with(user, (0, 0), |room| room.marked(user, *id)) {
                    self.flush(user);
                }
            }
        }
    }

    /// Writes what expired into the inbox, in batches, until the node stops.
    pub(super) async fn keep_promoting(self: Arc<Self>) {
        let desk = self.desk();
        loop {
            let batch = first(&desk.to_promote);
            if batch.is_empty() {
                if self.stopped_while(desk.promote_bell.notified()).await {
                    return;
                }
                continue;
            }
            if !self
                .insist("promote what expired", || desk.store.add(&batch, EnteredBy::Expiry))
                .await
            {
                return;
            }
            take_away(&desk.to_promote, batch.len());
            self.promoted(&batch).await;
        }
    }

    async fn promoted(self: &Arc<Self>, batch: &[Notification]) {
        let bytes = batch.iter().map(|n| n.payload.as_str().len()).sum();
        self.cx.gate.release(batch.len(), bytes);
        let end = |n| self.cx.endings.end(n, Outcome::Promoted);
        let ended: Vec<Ended> = batch.iter().map(end).collect();
        let mut users: Vec<_> = batch.iter().map(|n| n.user_id.clone()).collect();
        users.sort_unstable();
        users.dedup();
        for user in &users {
            self.look_if_online(user);
        }
        self.cx.endings.tell(ended).await;
    }

    /// The last try at both trays, when the node stops. What cannot be promoted now is handed over; what
    /// cannot be marked will be pushed once more.
    pub(super) async fn clear_desk(self: &Arc<Self>) -> Result<(), StoreError> {
        let Some(desk) = &self.desk else { return Ok(()) };
        loop {
            let batch = first(&desk.to_promote);
            if batch.is_empty() {
                break;
            }
            desk.store.add(&batch, EnteredBy::Expiry).await?;
            take_away(&desk.to_promote, batch.len());
            self.promoted(&batch).await;
        }
        loop {
            let batch = first(&desk.to_mark);
            if batch.is_empty() {
                return Ok(());
            }
            desk.store.mark_delivered(&batch, self.cx.clock.now()).await?;
            take_away(&desk.to_mark, batch.len());
        }
    }

    /// Tries a write until it succeeds. False if the node stops first.
    async fn insist<F>(&self, what: &str, write: impl Fn() -> F) -> bool
    where
        F: Future<Output = Result<(), StoreError>>,
    {
        let mut pause = PAUSE.0;
        loop {
            let why = match tokio::time::timeout(WRITE_TIMEOUT, write()).await {
                Ok(Ok(())) => return true,
                Ok(Err(error)) => error.to_string(),
                Err(elapsed) => elapsed.to_string(),
            };
            tracing::warn!(error = %why, retry_in = ?pause, "could not {what}; it is kept and tried again");
            if self.stopped_while(tokio::time::sleep(pause)).await {
                return false;
            }
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    async fn stopped_while(&self, wait: impl Future<Output = ()>) -> bool {
        tokio::select! {
            biased;
            () = self.cx.tasks.stop().cancelled() => true,
            () = wait => false,
        }
    }

    /// The user read one item or all of them. False if there is no such item.
    pub(super) async fn read(
        self: &Arc<Self>,
        user: &UserId,
        which: Which,
    ) -> Result<bool, StoreError> {
        let Some(desk) = &self.desk else { return Ok(false) };
        loop {
            let at = self.cx.clock.now();
            let Some(fresh) = desk.store.mark_read(user, which, at).await? else {
                return Ok(false);
            };
            let mut ended = Vec::new();
            for item in &fresh {
                let n = &item.notification;
                // Reading ends it, unless an acknowledgement has just done so and the mark is on its way.
                let ends = self.rooms.with(user, (0, 0), |room| room.read(user, n.id));
                if ends && item.by == EnteredBy::Policy {
                    ended.push(self.cx.endings.end(n, Outcome::Delivered));
                }
            }
            self.cx.endings.tell(ended).await;
            self.flush(user);
            if which != Which::All || fresh.len() < BATCH {
                return Ok(true);
            }
        }
    }
}
