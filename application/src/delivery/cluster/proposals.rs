//! What the log says is open, as far as this node has read it, and the ends that this node has proposed.
//!
//! A notification leaves its mailbox when this node proposes its end, and stays here until an end is read back: this
//! node's, or another's. **A proposal is repeated until then**, so a refusal, a time-out and a log that is away are one
//! path. Nothing here grows beyond what was accepted: whatever is proposed is open.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use doorstep_domain::{
    Append, Appended, Expecting, Kind, LogKey, Notification, NotificationId, Outcome, Sequence,
    Timestamp, Topic, TraceParent, UserId,
};
use foldhash::fast::RandomState;

use super::WINDOW;
use crate::cluster::{ClusterEntry, NodeId};

/// How long after its deadline the node that accepted a notification proposes that it has expired: an acknowledgement that
/// was in time, at another node, comes first.
const OWN_GRACE: Duration = Duration::from_secs(1);
/// The same for the other nodes: they act only if that node is gone.
const OTHERS_GRACE: Duration = Duration::from_secs(2);
/// How long another node has to write to the inbox what it promotes.
const RESCUE_AFTER: Duration = Duration::from_secs(5);
/// The pause before a proposal is repeated.
const REPEAT_AFTER: Duration = Duration::from_secs(1);

/// The table. Pure: no async, no clock, no lock.
pub(super) struct Proposals {
    me: NodeId,
    open: HashMap<NotificationId, Open, RandomState>,
    proposed: HashMap<NotificationId, Proposal, RandomState>,
    /// When each proposal is to be appended, unless that is under way.
    due: BTreeSet<(Timestamp, NotificationId)>,
    /// The log is being read again from its start: what is not open may only not have been read yet.
    reading_again: bool,
}

/// A notification that the log says has not ended.
#[derive(Debug, Clone, Copy)]
struct Open {
    /// The last entry of its key.
    sequence: Sequence,
    /// This node accepted it.
    mine: bool,
    /// It is being written to the inbox.
    promoting: bool,
}

/// What this node wants the log to say of a notification.
#[derive(Debug)]
struct Proposal {
    user: UserId,
    kind: Kind,
    topic: Option<Topic>,
    created_at: Timestamp,
    trace: Option<TraceParent>,
    /// This node accepted it.
    mine: bool,
    wanted: Wanted,
    due: Option<Timestamp>,
}

#[derive(Debug)]
enum Wanted {
    End(Outcome),
    /// It goes to the inbox.
    Promotion(Box<Notification>),
    /// Another node writes it to the inbox. If that node is gone, this one does.
    Rescue(Box<Notification>),
}

/// What is to be done about a proposal that is due.
#[derive(Debug)]
pub(super) enum Todo {
    /// Append this, and report the answer with [`Proposals::answered`].
    Append(NotificationId, Append),
    /// Write this to the inbox: the log says since long that another node does.
    Rescue(Notification),
}

impl Proposals {
    pub(super) fn new(me: NodeId) -> Self {
        Self {
            me,
            open: HashMap::default(),
            proposed: HashMap::default(),
            due: BTreeSet::new(),
            reading_again: false,
        }
    }

    /// The log says that it was accepted, or is being promoted. Returns whether it goes on as if it were new here: not if
    /// this node has proposed its end already, in a log that was not what it is now.
    pub(super) fn opened(
        &mut self,
        id: NotificationId,
        sequence: Sequence,
        mine: bool,
        now: Timestamp,
    ) -> bool {
        self.open.insert(id, Open { sequence, mine, promoting: false });
        if !self.proposed.contains_key(&id) {
            return true;
        }
        self.schedule(id, now);
        false
    }

    /// The log says that a node writes it to the inbox: this decides how it ends, and whatever else this node has proposed
    /// is void. If it is another node, this one looks after it once that node has had its time.
    pub(super) fn promoting(
        &mut self,
        n: &Notification,
        sequence: Sequence,
        by: NodeId,
        now: Timestamp,
    ) {
        let mine = self.open.get(&n.id).is_some_and(|open| open.mine);
        self.open.insert(n.id, Open { sequence, mine, promoting: true });
        self.withdraw(n.id);
        if by != self.me {
            let rescue = Wanted::Rescue(Box::new(n.clone()));
            self.add(n, rescue, now + RESCUE_AFTER + self.own_delay());
        }
    }

    /// The log says that it has ended. Returns when it was created, on this node's timeline, if this node had proposed an
    /// end.
    pub(super) fn ended(&mut self, id: NotificationId) -> Option<Timestamp> {
        self.open.remove(&id);
        let created_at = self.withdraw(id).map(|proposal| proposal.created_at);
        if self.open.is_empty() && self.open.capacity() > 1024 {
            self.open.shrink_to(64);
        }
        created_at
    }

    /// Proposes an end. Changes nothing if it has ended, or if an end is proposed already.
    pub(super) fn propose(&mut self, n: &Notification, outcome: Outcome, now: Timestamp) {
        let mine = match self.open.get(&n.id) {
            Some(open) => open.mine,
            None if self.reading_again => false,
            None => return,
        };
        let due = match outcome {
            Outcome::Expired => self.after_its_end(n, mine, now),
            _ => now,
        };
        self.add(n, Wanted::End(outcome), due);
    }

    /// As [`propose`](Self::propose), for an end that another node proposes at once: this one does only if that node does
    /// not.
    pub(super) fn propose_later(&mut self, n: &Notification, outcome: Outcome, now: Timestamp) {
        if self.open.contains_key(&n.id) || self.reading_again {
            self.add(n, Wanted::End(outcome), now + OTHERS_GRACE);
        }
    }

    /// Proposes that it goes to the inbox, since its TTL has ended. Changes nothing if it has ended, or is on its way there.
    pub(super) fn propose_promotion(&mut self, n: Notification, now: Timestamp) {
        let mine = match self.open.get(&n.id) {
            Some(open) if open.promoting => return,
            Some(open) => open.mine,
            None if self.reading_again => false,
            None => return,
        };
        let due = self.after_its_end(&n, mine, now);
        self.add(&n.clone(), Wanted::Promotion(Box::new(n)), due);
    }

    /// When this node proposes what follows from the end of a TTL.
    fn after_its_end(&self, n: &Notification, mine: bool, now: Timestamp) -> Timestamp {
        let ttl = n.ttl.map(doorstep_domain::Ttl::as_duration).unwrap_or_default();
        let end = n.created_at + ttl;
        if mine {
            return now.max(end + OWN_GRACE);
        }
        now.max(end + OTHERS_GRACE + self.own_delay())
    }

    /// Not all nodes act at once for one that is gone.
    fn own_delay(&self) -> Duration {
        Duration::from_millis(u64::from(self.me.0[0]) * 2)
    }

    fn add(&mut self, n: &Notification, wanted: Wanted, due: Timestamp) {
        if self.proposed.contains_key(&n.id) {
            return;
        }
        let (user, kind, created_at) = (n.user_id.clone(), n.kind.clone(), n.created_at);
        let mine = self.open.get(&n.id).is_some_and(|open| open.mine);
        let topic = n.topic.clone();
        let proposal =
            Proposal { user, kind, topic, created_at, trace: n.trace, mine, wanted, due: None };
        self.proposed.insert(n.id, proposal);
        self.schedule(n.id, due);
    }

    fn schedule(&mut self, id: NotificationId, at: Timestamp) {
        let Some(proposal) = self.proposed.get_mut(&id) else { return };
        if let Some(before) = proposal.due.replace(at) {
            self.due.remove(&(before, id));
        }
        self.due.insert((at, id));
    }

    fn withdraw(&mut self, id: NotificationId) -> Option<Proposal> {
        let proposal = self.proposed.remove(&id)?;
        if let Some(due) = proposal.due {
            self.due.remove(&(due, id));
        }
        Some(proposal)
    }

    /// When the next proposal is due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes at most this many proposals that are due, as entries to be appended. Report each with
    /// [`answered`](Self::answered). `shown` converts a time to the time of day.
    pub(super) fn take_due(
        &mut self,
        now: Timestamp,
        limit: usize,
        shown: impl Fn(&Notification) -> Notification,
        time_of_day: impl Fn(Timestamp) -> Timestamp,
    ) -> Vec<Todo> {
        let mut todo = Vec::new();
        while todo.len() < limit
            && let Some(&(at, id)) = self.due.first()
            && at <= now
        {
            self.due.pop_first();
            let Some(proposal) = self.proposed.get_mut(&id) else { continue };
            proposal.due = None;
            // Not open: the log is being read again. What it says of this one schedules it.
            let Some(open) = self.open.get(&id) else { continue };
            if matches!(proposal.wanted, Wanted::Rescue(_)) {
                if let Some(Proposal { wanted: Wanted::Rescue(n), .. }) = self.withdraw(id) {
                    todo.push(Todo::Rescue(*n));
                }
                continue;
            }
            let (entry, kept) = match &proposal.wanted {
                Wanted::End(outcome) => {
                    let (user, kind) = (proposal.user.clone(), proposal.kind.clone());
                    let created_at = time_of_day(proposal.created_at);
                    let outcome = Some(*outcome);
                    let by = self.me;
                    let trace = proposal.trace;
                    let end = ClusterEntry::Ended { outcome, by, user, kind, created_at, trace };
                    (end, Some(WINDOW))
                }
                Wanted::Promotion(n) => {
                    (ClusterEntry::Promoting { notification: shown(n), by: self.me }, None)
                }
                Wanted::Rescue(_) => continue,
            };
            let append = Append {
                key: LogKey::Notification(id),
                expecting: Expecting::Sequence(open.sequence),
                bytes: entry.encode(),
                kept,
            };
            todo.push(Todo::Append(id, append));
        }
        todo
    }

    /// The answer to the append of a proposal. Only what was won is final; everything else is tried again, unless an end
    /// is read before.
    pub(super) fn answered(&mut self, id: NotificationId, answer: &Appended, now: Timestamp) {
        let waits = self.proposed.get(&id).is_some_and(|proposal| proposal.due.is_none());
        if waits && !matches!(answer, Appended::Won(_)) {
            self.schedule(id, now + REPEAT_AFTER);
        }
    }

    /// Whether the log says that it is open.
    pub(super) fn is_open(&self, id: NotificationId) -> bool {
        self.open.contains_key(&id)
    }

    /// Whether this node has proposed an end that is not read back yet.
    pub(super) fn has_proposed(&self, id: NotificationId) -> bool {
        self.proposed.contains_key(&id)
    }

    /// What of this user, and of this topic if one is given, goes to the inbox or is being taken back, as far as this node
    /// has proposed it or looks after it.
    pub(super) fn on_the_way(&self, user: &UserId, topic: Option<&Topic>) -> Vec<NotificationId> {
        let such = |proposal: &Proposal| {
            let theirs = proposal.user == *user;
            let about = topic.is_none() || proposal.topic.as_ref() == topic;
            // Other nodes still push what is to be dropped here.
            let decided = matches!(
                proposal.wanted,
                Wanted::End(end) if !matches!(end, Outcome::Recalled | Outcome::Dropped)
            );
            theirs && about && !decided
        };
        let mut ids: Vec<_> = self
            .proposed
            .iter()
            .filter(|(_, proposal)| such(proposal))
            .map(|(id, _)| *id)
            .collect();
        ids.sort_unstable();
        ids
    }

    /// The node stops: the others propose what is not due yet.
    pub(super) fn leave_to_others(&mut self, now: Timestamp) {
        let later: Vec<_> = self.due.iter().filter(|(at, _)| *at > now).copied().collect();
        for (_, id) in later {
            self.withdraw(id);
        }
    }

    /// How many are open, and how many proposals have not been read back.
    pub(super) fn count(&self) -> (usize, usize) {
        (self.open.len(), self.proposed.len())
    }

    /// The log is read again from its start. Returns which of the open ones this node had accepted. What was proposed stays:
    /// it is proposed again for what turns out to be still open.
    pub(super) fn read_again(&mut self) -> Vec<NotificationId> {
        let mut mine: Vec<_> =
            self.open.drain().filter_map(|(id, open)| open.mine.then_some(id)).collect();
        mine.sort_unstable();
        self.reading_again = true;
        self.due.clear();
        for proposal in self.proposed.values_mut() {
            proposal.due = None;
        }
        mine
    }

    /// The log has been read again. Takes out the proposals about what it no longer has; unless `all`, not those that matter
    /// if the node that accepted the notification appends it again.
    pub(super) fn read(&mut self, all: bool) -> Vec<Leftover> {
        self.reading_again = false;
        let gone = |(id, proposal): &(&NotificationId, &Proposal)| {
            let seen =
                matches!(proposal.wanted, Wanted::End(Outcome::Delivered | Outcome::Recalled));
            !self.open.contains_key(id) && (all || proposal.mine || !seen)
        };
        let mut gone: Vec<_> = self.proposed.iter().filter(gone).map(|(id, _)| *id).collect();
        gone.sort_unstable();
        let mut leftovers = Vec::new();
        for id in gone {
            let Some(proposal) = self.withdraw(id) else { continue };
            let Proposal { user, kind, created_at, trace, mine, wanted, .. } = proposal;
            let outcome = match wanted {
                Wanted::End(outcome) => outcome,
                Wanted::Promotion(_) | Wanted::Rescue(_) => Outcome::Expired,
            };
            leftovers.push(Leftover { id, user, kind, created_at, trace, outcome, mine });
        }
        leftovers
    }
}

/// A proposal about a notification that the log no longer has.
pub(super) struct Leftover {
    pub(super) id: NotificationId,
    pub(super) user: UserId,
    pub(super) kind: Kind,
    pub(super) created_at: Timestamp,
    pub(super) trace: Option<TraceParent>,
    pub(super) outcome: Outcome,
    /// This node accepted it.
    pub(super) mine: bool,
}

#[cfg(test)]
mod tests;
