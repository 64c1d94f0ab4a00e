use std::sync::Arc;
use std::time::Duration;

use doorstep_domain::{
    Append, AppendRefusal, Appended, Expecting, LogKey, Notification, NotificationId, Ttl,
};
use tokio::time::Instant;

use super::{Cluster, PATIENCE, Standing};
use crate::cluster::ClusterEntry;
use crate::delivery::capacity::Capacity;
use crate::delivery::endings::Acceptance;
use crate::delivery::policy::{Overflow, Rule};
use crate::delivery::{NotAccepted, Refused};

/// The first pause before an append is repeated; it doubles.
const PAUSE: Duration = Duration::from_millis(20);

/// A place on this node for a notification that is on its way through the log.
struct Reserved<'a> {
    capacity: &'a Capacity,
    kind: doorstep_domain::Kind,
    bytes: usize,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.capacity.leave(&self.kind, self.bytes);
    }
}

/// What the log has of an id.
enum Sought {
    /// It is open, and has been read here.
    Open,
    /// It has ended.
    Ended(Acceptance),
    /// It is not there, or this cannot be known now.
    Nothing,
}

impl Cluster {
    /// Appends a notification to the log, unless the log has one with its id: then this is the result of that one.
    ///
    /// Waits for the log, and until the entry has come by here. Its times are on delivery's timeline.
    ///
    /// If this fails, the log may still have it, or may get it later: whoever sends it again with the same id is told.
    pub(in crate::delivery) async fn accept(
        self: &Arc<Self>,
        n: Notification,
        rule: &Rule,
        now_or_never: bool,
    ) -> Result<Acceptance, NotAccepted> {
        if *self.standing.borrow() != Standing::UpToDate {
            return Err(Refused::LogAway.of(n));
        }
        if self.is_open(n.id) {
            return Ok(self.so_far(&n));
        }
        let ttl = n.ttl.unwrap_or(rule.ttl);
        let now_or_never = now_or_never || ttl.is_zero();
        let n = Notification { ttl: Some(if now_or_never { Ttl::ZERO } else { ttl }), ..n };
        if let Err(full) = self.cx.admit(&n) {
            return Err(full.of(n));
        }
        let _reserved = Reserved {
            capacity: &self.cx.capacity,
            kind: n.kind.clone(),
            bytes: n.payload.as_str().len(),
        };
        let bound = rule.max_per_user.min(Rule::MOST_PER_USER);
        let full = |room: &mut crate::delivery::mailbox::Mailroom| {
            room.is_full_for(&n.user_id, n.topic.as_ref(), bound)
        };
        let mut drop_oldest = false;
        if !now_or_never
            && self.wake.rooms.with(&n.user_id, full)
            && !self.is_reading(&n.user_id).await
        {
            if rule.overflow == Overflow::Reject {
                self.cx.reject(&n);
                return Err(Refused::MailboxFull.of(n));
            }
            drop_oldest = true;
        }
        let accepted = match self.put_into_log(&n, now_or_never).await {
            Ok(accepted) => accepted,
            Err(why) => {
                if matches!(why, Refused::NodeFull) {
                    self.cx.reject(&n);
                }
                return Err(why.of(n));
            }
        };
        if drop_oldest {
            let dropped =
                self.wake.rooms.with(&n.user_id, |room| room.drop_oldest(&n.user_id, bound));
            for n in &dropped {
                self.decisions.propose(n, doorstep_domain::Outcome::Dropped);
            }
        }
        Ok(accepted)
    }

    /// Writes a notification to the inbox, and tells all nodes to look there. It is accepted when both are done: if this
    /// node dies in between, the sender sends it again to another node, which tells them.
    pub(in crate::delivery) async fn accept_kept(
        &self,
        n: Notification,
    ) -> Result<Acceptance, NotAccepted> {
        if *self.standing.borrow() != Standing::UpToDate {
            return Err(Refused::LogAway.of(n));
        }
        let (user, deadline) = (n.user_id.clone(), Instant::now() + PATIENCE);
        let (accepted, n) = self.wake.write_to_inbox(n).await?;
        let mut pause = PAUSE;
        while self.tell_to_look(user.clone()).await.is_err() {
            if Instant::now() + pause >= deadline {
                return Err(Refused::LogAway.of(n));
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Ok(accepted)
    }

    /// Appends until it is known that the log has it. If it is refused, no outcome is told: the caller may try again.
    pub(super) async fn put_into_log(
        &self,
        n: &Notification,
        now_or_never: bool,
    ) -> Result<Acceptance, Refused> {
        let (key, deadline) = (LogKey::Notification(n.id), Instant::now() + PATIENCE);
        let mut pause = PAUSE;
        // An earlier append may still arrive.
        let mut unsure = false;
        loop {
            let mut seen = self.watch(key);
            let entry = ClusterEntry::Accepted {
                notification: self.cx.shown(n).into_owned(),
                origin: self.me,
                age: self.cx.clock.now().since(n.created_at),
                now_or_never,
            };
            let append =
                Append { key, expecting: Expecting::Nothing, bytes: entry.encode(), kept: None };
            let answer = self.append(append).await;
            unsure |= answer == Appended::Unknown;
            match answer {
                Appended::Won(_) => {
                    // If it does not come by in time, it is accepted nevertheless.
                    seen.for_at_most(PATIENCE).await;
                    return Ok(self.so_far(n));
                }
                Appended::Lost | Appended::Unknown => match self.find(n.id).await {
                    Sought::Open => return Ok(self.so_far(n)),
                    Sought::Ended(ended) => return Ok(ended),
                    Sought::Nothing => {}
                },
                Appended::Refused(AppendRefusal::TooLarge { .. }) => return Err(Refused::TooLarge),
                Appended::Refused(AppendRefusal::Full(why)) => {
                    tracing::warn!(%why, "the log of the cluster is full");
                    return Err(if unsure { Refused::LogAway } else { Refused::NodeFull });
                }
                Appended::Refused(AppendRefusal::Away(_)) => return Err(Refused::LogAway),
            }
            if Instant::now() + pause >= deadline {
                return Err(Refused::LogAway);
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    /// What the log has of this id. Waits until what it has is read here.
    async fn find(&self, id: NotificationId) -> Sought {
        let key = LogKey::Notification(id);
        let mut seen = self.watch(key);
        if self.is_open(id) {
            return Sought::Open;
        }
        let Ok(Some(entry)) = self.log.get(key).await else { return Sought::Nothing };
        match ClusterEntry::decode(key, &entry.bytes) {
            Ok(ClusterEntry::Ended { outcome: Some(outcome), .. }) => {
                Sought::Ended(Acceptance::Ended(outcome))
            }
            // A newer version knows how it ended.
            Ok(ClusterEntry::Ended { outcome: None, .. }) => Sought::Ended(Acceptance::InFlight),
            _ => {
                seen.for_at_most(PATIENCE).await;
                Sought::Open
            }
        }
    }

    pub(super) fn is_open(&self, id: NotificationId) -> bool {
        self.decisions.proposals.lock().is_open(id)
    }
}
