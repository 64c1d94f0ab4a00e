//! Reading the log: what each entry changes here.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use doorstep_domain::ports::RetractReason;
use doorstep_domain::{
    Kind, LogEntry, LogEvent, LogKey, Notification, NotificationId, Outcome, ReadFrom, SentBy,
    Sequence, Timestamp, TraceParent, UserId,
};

use super::{Cluster, PATIENCE, PAUSE, Standing, WINDOW};
use crate::cluster::{ClusterEntry, NodeId, Unreadable};
use crate::delivery::endings::Ending;

/// An end as the log tells it.
struct End {
    id: NotificationId,
    outcome: Option<Outcome>,
    by: NodeId,
    user: UserId,
    kind: Kind,
    created_at: Timestamp,
    trace: Option<TraceParent>,
}

impl Cluster {
    /// Reads the log from its start, until the node stops.
    pub(super) async fn read_on(self: &Arc<Self>) {
        let stop = self.cx.tasks.stop().clone();
        tokio::select! {
            biased;
            () = self.all_told(&stop) => {}
            () = self.read_for_ever() => {}
        }
    }

    async fn read_for_ever(self: &Arc<Self>) {
        // Whether the log may have lost what this node accepted.
        let mut lost = false;
        loop {
            self.forget(lost);
            self.learn_the_time().await;
            self.catch_up_later();
            let mut tail = self.log.tail(ReadFrom::Start);
            lost = loop {
                match tail.next().await {
                    LogEvent::Entry(entry) => self.apply(&entry),
                    LogEvent::CutOff(why) => self.cut_off(why),
                    LogEvent::Resumed if self.was_away_too_long() => break false,
                    LogEvent::Resumed => self.resumed(),
                    LogEvent::Reset => {
                        tracing::warn!(
                            "the log of the cluster is not what it was; reading it again"
                        );
                        break !self.was_away_too_long();
                    }
                }
            };
        }
    }

    /// Learns the time on the log's clock before anything is read: what is old must be known to be old.
    async fn learn_the_time(&self) {
        while let Err(why) = self.round_trip().await {
            self.standing.send_if_modified(|standing| {
                let changed = *standing != Standing::CutOff(why.clone());
                if changed {
                    tracing::warn!(%why, "the log of the cluster cannot be read");
                    *standing = Standing::CutOff(why);
                }
                changed
            });
            tokio::time::sleep(PAUSE).await;
        }
        self.standing.send_replace(Standing::CatchingUp);
    }

    /// Appends something and reads it.
    async fn round_trip(&self) -> Result<(), String> {
        let first = self.append_barrier(self.new_key()).await?;
        let mut tail = self.log.tail(ReadFrom::After(first));
        // The log looks at one append in a while only.
        tokio::time::sleep(PAUSE / 5).await;
        self.append_barrier(self.new_key()).await?;
        let known = async {
            while self.log.time().is_none_or(|time| time.at_most.is_none()) {
                tail.next().await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, known).await;
        in_time.map_err(|_| "what is appended does not come by".into())
    }

    /// A stopping node reads on until its own ends have come by: it tells them.
    async fn all_told(&self, stop: &tokio_util::sync::CancellationToken) {
        stop.cancelled().await;
        self.all_decided().await;
    }

    fn cut_off(&self, why: String) {
        tracing::warn!(%why, "cut off from the log of the cluster; what is known here is still pushed");
        self.cut_off_since.lock().get_or_insert(self.cx.clock.now());
        self.generation.fetch_add(1, Relaxed);
        self.standing.send_replace(Standing::CutOff(why));
    }

    fn resumed(self: &Arc<Self>) {
        tracing::info!("the log of the cluster is read again");
        *self.cut_off_since.lock() = None;
        self.catch_up_later();
    }

    /// The log keeps ends for a while only. A node that was away longer than that has missed some.
    fn was_away_too_long(&self) -> bool {
        let now = self.cx.clock.now();
        self.cut_off_since.lock().take().is_some_and(|since| now.since(since) > WINDOW / 2)
    }

    fn apply(self: &Arc<Self>, entry: &LogEntry) {
        self.counts.entries.fetch_add(1, Relaxed);
        match ClusterEntry::decode(entry.key, &entry.bytes) {
            Ok(read) => self.apply_read(entry, read),
            Err(Unreadable::Newer) => {
                self.counts.newer.fetch_add(1, Relaxed);
            }
            Err(Unreadable::Damaged(what)) => {
                let before = self.counts.unreadable.fetch_add(1, Relaxed);
                if before.is_multiple_of(1000) {
                    tracing::warn!(
                        key = %entry.key,
                        what,
                        count = before + 1,
                        "an entry in the log of the cluster is damaged; it is skipped"
                    );
                }
            }
        }
        self.seen(entry.key);
    }

    fn apply_read(self: &Arc<Self>, entry: &LogEntry, read: ClusterEntry) {
        match read {
            ClusterEntry::Accepted { notification, origin, age, now_or_never } => {
                let accepted = self.moment_of(entry.time);
                let n = Notification { created_at: accepted - age, ..notification };
                self.accepted(n, entry.sequence, origin == self.me, now_or_never, accepted);
            }
            ClusterEntry::Promoting { notification, by } => {
                let n = self.cx.taken_in(notification);
                self.promoting(n, entry.sequence, by);
            }
            ClusterEntry::Ended { outcome, by, user, kind, created_at, trace } => {
                let LogKey::Notification(id) = entry.key else { return };
                self.ended(End { id, outcome, by, user, kind, created_at, trace });
            }
            ClusterEntry::Look { user } if !self.is_own(entry.key) => {
                self.wake.look_if_online(&user);
            }
            ClusterEntry::Retract { user, id, reason } if !self.is_own(entry.key) => {
                self.retract(&user, id, reason);
            }
            ClusterEntry::Disconnect { user } if !self.is_own(entry.key) => {
                if let Some(control) = &self.control {
                    control.disconnect(&user);
                }
            }
            ClusterEntry::SignedOut { user, token } if !self.is_own(entry.key) => {
                if let Some(control) = &self.control {
                    control.end_session(&user, &token);
                }
            }
            // Callers that wait for a barrier are told by its key.
            ClusterEntry::Barrier { .. }
            | ClusterEntry::Look { .. }
            | ClusterEntry::Retract { .. }
            | ClusterEntry::SignedOut { .. }
            | ClusterEntry::Disconnect { .. } => {}
        }
    }

    /// A time on the log's clock, on this node's timeline: never later than it was, as far as is known, so that nothing is
    /// pushed after its deadline.
    fn moment_of(&self, time: Timestamp) -> Timestamp {
        let now = self.cx.clock.now();
        let Some(log) = self.log.time() else { return now };
        now - log.at_most.unwrap_or(log.at_least).since(time)
    }

    fn accepted(
        self: &Arc<Self>,
        n: Notification,
        sequence: Sequence,
        mine: bool,
        now_or_never: bool,
        at: Timestamp,
    ) {
        let now = self.cx.clock.now();
        self.orphans.lock().found(n.id);
        if !self.decisions.proposals.lock().opened(n.id, sequence, mine, now) {
            self.decisions.bell.notify_one();
            return;
        }
        if !mine {
            self.wake.note_received(&n, SentBy::OtherNode);
        }
        if now_or_never {
            self.offer_once(n, at);
            return;
        }
        let user = n.user_id.clone();
        for (replaced, outcome) in self.wake.entered(n) {
            if mine {
                self.decisions.propose(&replaced, outcome);
            } else {
                self.decisions.propose_later(&replaced, outcome);
            }
        }
        self.wake.flush_if_online(&user);
    }

    fn promoting(self: &Arc<Self>, n: Notification, sequence: Sequence, by: NodeId) {
        let now = self.cx.clock.now();
        self.orphans.lock().found(n.id);
        self.decisions.proposals.lock().promoting(&n, sequence, by, now);
        let here = self.wake.rooms.with(&n.user_id, |room| room.recall(n.id));
        if here.is_some_and(|here| here.pushed) {
            self.wake.flush_later(&n.user_id);
        }
        if by == self.me {
            self.wake.write_promotion(n);
        } else {
            self.decisions.bell.notify_one();
        }
    }

    fn ended(self: &Arc<Self>, end: End) {
        let End { id, outcome, by, user, kind, created_at, trace } = end;
        self.orphans.lock().found(id);
        let was = self.decisions.proposals.lock().ended(id);
        let here = self.wake.rooms.with(&user, |room| room.recall(id));
        // It was created when the entry says, unless this node knows better.
        let created_at = was
            .or(here.as_ref().map(|here| here.notification.created_at))
            .unwrap_or_else(|| self.cx.clock.moment_of(created_at));
        if here.is_some_and(|here| here.in_hand) {
            self.wake.flush_later(&user);
            if matches!(outcome, Some(Outcome::Delivered | Outcome::Recalled)) {
                let reason = match outcome {
                    Some(Outcome::Recalled) => RetractReason::Recalled,
                    _ => RetractReason::AcknowledgedElsewhere,
                };
                self.retract_here(&user, id, reason);
            }
        }
        let Some(outcome) = outcome else { return };
        if outcome == Outcome::Promoted && by != self.me {
            // The node that has written it to the inbox may be gone.
            self.wake.look_if_online(&user);
        }
        let ending = Ending { id, user_id: user, kind, created_at, trace };
        // A proposal stays until its end is read. So without one, this end was told before the log was read again.
        let ours = by == self.me && was.is_some();
        let told = self.cx.endings.decided(ending, outcome, ours);
        if ours {
            self.counts.by_me.fetch_add(1, Relaxed);
            self.cx.tell(vec![told]);
        } else if by != self.me {
            self.counts.by_others.fetch_add(1, Relaxed);
            self.cx.endings.learn(vec![told]);
        }
    }

    fn retract(self: &Arc<Self>, user: &UserId, id: NotificationId, reason: Option<RetractReason>) {
        let Some(reason) = reason else { return };
        if reason == RetractReason::AcknowledgedElsewhere {
            // An item of the inbox, which another node has marked. What is here needs no end of its own.
            self.wake.rooms.with(user, |room| room.read(user, id));
            self.wake.flush_later(user);
        }
        self.retract_here(user, id, reason);
    }

    pub(super) fn retract_here(&self, user: &UserId, id: NotificationId, reason: RetractReason) {
        let (cx, user) = (self.cx.clone(), user.clone());
        self.cx.tasks.now_or_later(async move { cx.retract(&user, id, reason).await });
    }
}
