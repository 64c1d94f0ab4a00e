use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use doorstep_domain::ports::{EnteredBy, Inbox, PushError, Pushed};
use doorstep_domain::{Notification, NotificationId, Outcome, Timestamp, UserId};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::alarm::Alarm;
use super::context::Context;
use super::desk::Desk;
use super::entry::State;
use super::mailroom::{Acked, Due, Next, Push, Went};
use super::mailrooms::Mailrooms;
use super::policy::{OnExpiry, Rule};
use super::receipt::Acceptance;
use super::{Refused, mailroom};

/// So many due entries are looked at under one hold of a shard's lock.
const DUE_AT_ONCE: usize = 256;
/// After so many pushes in a row a flush lets others run.
const PUSHES_IN_A_ROW: usize = 64;
/// So many items of the inbox are brought to an arriving user at a time.
pub(super) const PAGE: usize = 100;

/// The strategy `wake`: what is deferred waits in its user's mailbox, and the arrival itself flushes it.
///
/// The race to respect: accept first, then look whether the user is there; the transport registers the
/// connection first, then calls `arrived`. Whichever comes first, one of the two sees the other.
pub(super) struct Wake {
    pub(super) cx: Arc<Context>,
    pub(super) rooms: Mailrooms,
    pub(super) desk: Option<Desk>,
    alarm: Alarm,
}

impl Wake {
    pub(super) fn new(
        cx: Arc<Context>,
        inbox: Option<Arc<dyn Inbox>>,
        hash_seed: Option<u64>,
    ) -> Arc<Self> {
        let rooms = Mailrooms::new(cx.gate.clone(), hash_seed);
        Arc::new(Self { rooms, desk: inbox.map(Desk::new), alarm: Alarm::new(), cx })
    }

    /// Takes a notification into its user's mailbox, and flushes that if the user is there.
    pub(super) fn accept(
        self: &Arc<Self>,
        n: Notification,
        rule: &Rule,
    ) -> Result<Acceptance, Refused> {
        let (user, id, bytes) = (n.user_id.clone(), n.id, n.payload.as_str().len());
        if !self.cx.gate.enter(&n.kind, bytes) {
            self.cx.tell_later(vec![self.cx.endings.end(&n, Outcome::Rejected)]);
            return Err(Refused::NodeFull);
        }
        let ttl = n.ttl.unwrap_or(rule.ttl);
        let due = n.created_at + ttl.as_duration();
        let limited = self.cx.gate.minds(&n.kind);
        let accepted =
            self.rooms.with(&user, (1, bytes), |room| room.accept(n, ttl, rule, limited));
        match accepted {
            Err(n) => {
                self.cx.gate.leave_kind(&n.kind, bytes);
                self.cx.tell_later(vec![self.cx.endings.end(&n, Outcome::Rejected)]);
                return Err(Refused::MailboxFull);
            }
            Ok(Some((gone, outcome))) => {
                self.cx.tell_later(vec![self.cx.endings.end(&gone, outcome)]);
            }
            Ok(None) => {}
        }
        self.alarm.mind(due);
        if !self.flush_if_online(&user) {
            return Ok(Acceptance::Waiting);
        }
        Ok(match self.rooms.with(&user, (0, 0), |room| room.state(&user, id)) {
            Some(State::InFlight) => Acceptance::InFlight,
            _ => Acceptance::Waiting,
        })
    }

    /// Looks whether the user is there, and flushes if so. False if that is known not to be so.
    pub(super) fn flush_if_online(self: &Arc<Self>, user: &UserId) -> bool {
        match self.cx.is_online_at_once(user) {
            Some(true) => self.flush(user),
            Some(false) => return false,
            None => {
                let (this, user) = (self.clone(), user.clone());
                self.cx.tasks.spawn(async move {
                    if this.cx.is_online(&user).await {
                        this.flush(&user);
                    }
                });
            }
        }
        true
    }

    pub(super) fn arrived(self: &Arc<Self>, user: &UserId) {
        self.rooms.with(user, (0, 0), |room| {
            room.presence_changed(user);
            if self.desk.is_some() {
                room.look_into_inbox(user);
            }
        });
        self.flush(user);
    }

    pub(super) fn departed(self: &Arc<Self>, user: &UserId) {
        self.rooms.with(user, (0, 0), |room| room.presence_changed(user));
        self.flush(user);
    }

    pub(super) fn acknowledged(self: &Arc<Self>, user: &UserId, id: NotificationId) {
        if let Some(acked) = self.rooms.with(user, (0, 0), |room| room.acknowledged(user, id)) {
            let mut ended = Vec::new();
            self.finish(&acked, Outcome::Delivered, &mut ended);
            self.cx.tell_later(ended);
            self.flush(user);
        }
    }

    /// Flushes the user's mailbox, unless somebody is at it already: then that one looks again.
    pub(super) fn flush(self: &Arc<Self>, user: &UserId) {
        // What waits when the node stops is handed over, not pushed.
        if self.cx.tasks.stop().is_cancelled() {
            return;
        }
        if self.rooms.with(user, (0, 0), |room| room.begin_flush(user)) {
            let (this, user) = (self.clone(), user.clone());
            self.cx.tasks.now_or_later(async move { this.run_flush(&user).await });
        }
    }

    async fn run_flush(self: Arc<Self>, user: &UserId) {
        for round in 1_usize.. {
            let mut ended = Vec::new();
            let now = self.cx.clock.now();
            match self.rooms.with(user, (0, 0), |room| room.next(user, now)) {
                Next::Stop => break,
                Next::Ended(n, Outcome::Expired) => self.over(n, &mut ended),
                Next::Ended(n, outcome) => ended.push(self.cx.endings.end(&n, outcome)),
                Next::Look => self.look(user).await,
                Next::Push(push) => {
                    let go_on = self.push(user, &push, &mut ended).await;
                    if !go_on {
                        self.cx.endings.tell(ended).await;
                        break;
                    }
                }
            }
            // At once: the next push, or the inbox, may take its time.
            self.cx.endings.tell(ended).await;
            if round.is_multiple_of(PUSHES_IN_A_ROW) {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Makes one push and says whether the flush goes on.
    async fn push(
        &self,
        user: &UserId,
        push: &Push,
        ended: &mut Vec<doorstep_domain::Ended>,
    ) -> bool {
        let n = &push.notification;
        let answer = self.cx.push(n, push.attempt, push.deadline).await;
        let now = self.cx.clock.now();
        let ack_timeout = self.cx.rules.of(&n.kind).ack_timeout;
        let (went, look_at) = match answer {
            Ok(Pushed::InFlight) => (Went::Answered(Pushed::InFlight), now + ack_timeout),
            Ok(pushed) => (Went::Answered(pushed), Timestamp::MAX),
            Err(PushError(why)) => {
                tracing::warn!(notification = %n.id, user = %user, error = %why, "push failed");
                let retry_at = now + self.cx.limits.push_retry;
                (Went::Failed { retry_at }, retry_at)
            }
        };
        let after =
            self.rooms.with(user, (0, 0), |room| room.pushed(user, push, went, now, ack_timeout));
        self.alarm.mind(look_at);
        match after.ended {
            Some((acked, Outcome::Expired)) => self.over(acked.notification, ended),
            Some((acked, outcome)) => self.finish(&acked, outcome, ended),
            None => {}
        }
        after.go_on
    }

    /// Ends a notification, and has the inbox told if it is kept there.
    pub(super) fn finish(
        &self,
        acked: &Acked,
        outcome: Outcome,
        ended: &mut Vec<doorstep_domain::Ended>,
    ) {
        let n = &acked.notification;
        if let (Some(_), Some(desk)) = (acked.kept, &self.desk) {
            desk.mark(n.user_id.clone(), n.id);
        }
        if acked.kept != Some(EnteredBy::Expiry) {
            ended.push(self.cx.endings.end(n, outcome));
        }
    }

    /// A TTL has ended: the notification is dropped or goes on its way to the inbox, as its rule says.
    fn over(&self, n: Notification, ended: &mut Vec<doorstep_domain::Ended>) {
        match &self.desk {
            Some(desk) if self.cx.rules.of(&n.kind).on_expiry == OnExpiry::Inbox => {
                self.cx.gate.force(1, n.payload.as_str().len());
                desk.promote(n);
            }
            _ => ended.push(self.cx.endings.end(&n, Outcome::Expired)),
        }
    }

    /// Ends what is due when it is due, until the node stops. The only thing that wakes by itself.
    pub(super) async fn keep_time(self: Arc<Self>) {
        let stop = self.cx.tasks.stop().clone();
        loop {
            self.alarm.unset();
            let due = self.rooms.next_due().unwrap_or(Timestamp::MAX);
            self.alarm.set(due);
            let until_due = async {
                if due == Timestamp::MAX {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(due.since(self.cx.clock.now())).await;
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.alarm.rung() => {}
                () = until_due => self.end_what_is_due().await,
            }
        }
    }

    pub(super) async fn end_what_is_due(self: &Arc<Self>) {
        let now = self.cx.clock.now();
        let mut crowded = Vec::new();
        for shard in 0..self.rooms.shards() {
            if self.end_some_of(shard, now).await {
                crowded.push(shard);
            }
        }
        if crowded.is_empty() {
            return;
        }
        // So much at once is a burst that was accepted at once: every core takes its share of it.
        let (crowded, taken) = (Arc::new(crowded), Arc::new(AtomicUsize::new(0)));
        let mut cores = JoinSet::new();
        for _ in 0..Handle::current().metrics().num_workers() {
            let (this, crowded, taken) = (self.clone(), crowded.clone(), taken.clone());
            cores.spawn(async move {
                while let Some(&shard) = crowded.get(taken.fetch_add(1, Relaxed)) {
                    while this.end_some_of(shard, now).await {
                        tokio::task::yield_now().await;
                    }
                }
            });
        }
        while cores.join_next().await.is_some() {}
    }

    /// Ends some of what is due in a shard; true if there may be more.
    async fn end_some_of(self: &Arc<Self>, shard: usize, now: Timestamp) -> bool {
        let mut due = Due::default();
        let more = self.rooms.in_shard(shard, (0, 0), |room| room.due(now, DUE_AT_ONCE, &mut due));
        let mut ended = Vec::with_capacity(due.expired.len());
        for n in due.expired {
            self.over(n, &mut ended);
        }
        due.flush.dedup();
        for user in due.flush {
            self.flush(&user);
        }
        self.cx.endings.tell(ended).await;
        more
    }

    pub(super) fn held(&self) -> mailroom::Held {
        self.rooms.held()
    }
}
