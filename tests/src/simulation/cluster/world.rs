//! The world outside the nodes: who is connected where, what was sent, what was seen, and what was told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use doorstep_application::cluster::NodeId;
use doorstep_domain::ports::{Attempt, Pushed};
use doorstep_domain::{
    LogKey, Notification, NotificationId, Outcome, Payload, Sequence, Timestamp, UserId,
};
use tokio::time::Instant;
use uuid::Uuid;

use super::super::Played;
use super::super::dice::Dice;
use super::super::stores::Stores;
use crate::memory_log::{MemoryLog, MemoryNode};

pub(super) const USERS: u64 = 3;
pub(super) const NODES: usize = 3;
/// How long what a node knows may be old after the last trouble: a time-out of an append, and what follows from it.
pub(super) const CALM_AFTER: Duration = Duration::from_secs(15);

pub(super) fn short(id: NotificationId) -> u128 {
    id.as_uuid().as_u128()
}

pub(super) fn user(n: u64) -> UserId {
    format!("user-{n}").parse().expect("a user id")
}

/// Which life of which node this is.
pub(super) fn life_of(node: NodeId) -> (usize, u64) {
    let mut life = [0; 8];
    life[2..].copy_from_slice(&node.0[2..8]);
    (usize::from(node.0[1]).saturating_sub(1), u64::from_be_bytes(life))
}

/// One live connection, as its node sees it.
pub(super) struct Connection {
    pub(super) user: u64,
    pub(super) node: usize,
    pub(super) acks: bool,
    pub(super) handed: BTreeMap<NotificationId, Attempt>,
}

/// A notification, seen from outside.
#[expect(clippy::struct_excessive_bools, reason = "events that happen in any combination")]
pub(super) struct Life {
    pub(super) notification: Notification,
    pub(super) user: u64,
    pub(super) kind: &'static str,
    /// A node said that it is accepted.
    pub(super) accepted: bool,
    /// How often it was sent, and how often a node has refused it for good: if always, it may be nowhere.
    pub(super) sent: u32,
    pub(super) refused: u32,
    /// The life of the node that accepted it: it appends it again if the log is lost.
    pub(super) origin: Option<(usize, u64)>,
    /// Where a log had it that was lost, and which loss that was.
    pub(super) lost_at: Option<(u64, Sequence)>,
    /// Where the log has it, and the log's time of that.
    pub(super) in_log: Option<(Sequence, Timestamp)>,
    /// The log's time when it was appended.
    pub(super) appended: Option<Timestamp>,
    /// Told by a node (and which life of it).
    pub(super) told: Vec<(usize, u64, Outcome)>,
    /// A client had it.
    pub(super) written: bool,
    pub(super) promoted: bool,
    /// Its sender was told that it is recalled, or was before.
    pub(super) recalled: Option<Instant>,
    /// The log has lost that it ever was there.
    pub(super) forgotten: bool,
}

pub(super) struct State {
    pub(super) dice: Dice,
    pub(super) connections: BTreeMap<u64, Connection>,
    pub(super) lives: BTreeMap<NotificationId, Life>,
    /// Of each node: how often it was started.
    pub(super) node_lives: [u64; NODES],
    /// Of each node: when the last trouble on its way to the log ended. `None`: it lasts.
    pub(super) calm_since: [Option<Instant>; NODES],
    /// Nodes that crashed, and the outcomes that only they could tell.
    pub(super) crashed: BTreeSet<(usize, u64)>,
    /// Of each life of a node and each user: what was first pushed last, by its place in the log.
    pub(super) pushed_last: BTreeMap<(usize, u64, UserId), Sequence>,
    /// What each life of a node has pushed.
    pub(super) pushed: BTreeSet<(usize, u64, NotificationId)>,
    pub(super) next: u64,
    pub(super) broken: Option<String>,
    /// How often the log was lost.
    pub(super) losses: u64,
    /// A node was cut off for longer than it can catch up by reading on.
    pub(super) was_cut_for_long: bool,
    /// The log has no room for more.
    pub(super) full: bool,
    pub(super) pushes_fail: bool,
    pub(super) pushes_trouble_until: Instant,
    pub(super) story: Option<Vec<String>>,
}

pub(super) struct World {
    pub(super) start: Instant,
    pub(super) log: MemoryLog,
    /// Looks into the log without faults.
    pub(super) eye: MemoryNode,
    pub(super) stores: Stores,
    state: Mutex<State>,
}

impl World {
    pub(super) fn new(mut dice: Dice, tell: bool) -> Arc<Self> {
        let (start, log) = (Instant::now(), MemoryLog::default());
        Arc::new(Self {
            start,
            eye: log.node(),
            log,
            stores: Stores::new(dice.fork()),
            state: Mutex::new(State {
                dice,
                connections: BTreeMap::new(),
                lives: BTreeMap::new(),
                node_lives: [0; NODES],
                calm_since: [Some(start); NODES],
                crashed: BTreeSet::new(),
                pushed_last: BTreeMap::new(),
                pushed: BTreeSet::new(),
                next: 0,
                broken: None,
                losses: 0,
                was_cut_for_long: false,
                full: false,
                pushes_fail: false,
                pushes_trouble_until: start,
                story: tell.then(Vec::new),
            }),
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under this lock")
    }

    pub(super) fn tell(&self, what: impl FnOnce() -> String) {
        let at = self.start.elapsed();
        if let Some(story) = &mut self.state().story {
            story.push(format!("{:9.3} s  {}", at.as_secs_f64(), what()));
        }
    }

    pub(super) fn number(&self) -> u64 {
        let mut state = self.state();
        state.next += 1;
        state.next
    }

    pub(super) fn create(&self, to: u64, kind: &'static str, about: Option<u64>) -> Notification {
        let id = NotificationId::new(Uuid::from_u128(self.number().into()));
        let notification = Notification {
            id,
            user_id: user(to),
            kind: kind.parse().expect("a kind"),
            topic: about.map(|n| format!("topic-{n}").parse().expect("a topic")),
            payload: Payload::new(&id).expect("a payload"),
            created_at: Timestamp::default(),
            ttl: None,
            trace: None,
        };
        let life = Life {
            notification: notification.clone(),
            user: to,
            kind,
            accepted: false,
            sent: 0,
            refused: 0,
            origin: None,
            in_log: None,
            lost_at: None,
            appended: None,
            told: Vec::new(),
            written: false,
            promoted: false,
            recalled: None,
            forgotten: false,
        };
        self.state().lives.insert(id, life);
        notification
    }

    /// Remembers where the log has each notification. Entries are replaced, so this looks often.
    pub(super) async fn look(&self) {
        use doorstep_application::cluster::ClusterEntry;
        use doorstep_domain::ports::Log as _;
        let ids: Vec<_> = {
            let state = self.state();
            let unseen = state.lives.iter().filter(|(_, life)| life.in_log.is_none());
            unseen.map(|(id, _)| *id).collect()
        };
        for id in ids {
            let key = LogKey::Notification(id);
            let Ok(Some(entry)) = self.eye.get(key).await else { continue };
            if let Ok(ClusterEntry::Accepted { age, now_or_never, origin, .. }) =
                ClusterEntry::decode(key, &entry.bytes)
                && let Some(life) = self.state().lives.get_mut(&id)
            {
                // It is offered for a second, however old it was.
                let age = if now_or_never { Duration::ZERO } else { age };
                life.in_log = Some((entry.sequence, entry.time - age));
                life.appended = Some(entry.time);
                life.origin = Some(life_of(origin));
            }
        }
    }

    pub(super) fn is_open_in_log(&self, id: NotificationId) -> bool {
        use doorstep_application::cluster::ClusterEntry;
        use doorstep_domain::ports::Log as _;
        use futures_util::FutureExt as _;
        let key = LogKey::Notification(id);
        let entry = self.eye.get(key).now_or_never().and_then(Result::ok).flatten();
        entry.is_some_and(|entry| {
            matches!(ClusterEntry::decode(key, &entry.bytes), Ok(ClusterEntry::Accepted { .. }))
        })
    }

    /// Something is wrong on the way between this node and the log, from now until `calm`.
    pub(super) fn trouble(&self, node: usize) {
        self.state().calm_since[node] = None;
    }

    pub(super) fn calm(&self, node: usize) {
        self.state().calm_since[node] = Some(Instant::now());
    }

    pub(super) fn played(&self, steps: u64) -> Played {
        let state = self.state();
        let count =
            |f: &dyn Fn(&Life) -> bool| state.lives.values().filter(|l| f(l)).count() as u64;
        Played {
            steps,
            accepted: count(&|life| life.accepted),
            delivered: count(&|life| {
                life.told.iter().any(|(_, _, outcome)| *outcome == Outcome::Delivered)
            }),
        }
    }
}

impl State {
    pub(super) fn break_promise(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    /// Whether there is a newer one of its topic: every node withholds it, until it ends as replaced.
    pub(super) fn is_withheld(&self, life: &Life) -> bool {
        let topic = &life.notification.topic;
        topic.is_some()
            && self.lives.values().any(|newer| {
                let newer_place = newer.in_log.map(|(place, _)| place);
                newer.user == life.user
                    && newer.notification.topic == *topic
                    && newer_place > life.in_log.map(|(place, _)| place)
            })
    }

    /// Whether the log may have lost it for ever: the node that accepted it is gone, or it was never read there.
    pub(super) fn may_be_lost(&self, life: &Life) -> bool {
        let keeps = |(node, alive): (usize, u64)| self.node_lives[node] == alive;
        // What is offered once is over by the time the log is read again.
        life.forgotten && (life.kind == "now" || !life.origin.is_some_and(keeps))
    }

    /// Whether this node has had no trouble for so long that it knows what the log says.
    pub(super) fn is_calm(&self, node: usize) -> bool {
        !self.full && self.calm_since[node].is_some_and(|since| since.elapsed() > CALM_AFTER)
    }

    /// Hands a notification to each of its user's connections at this node that has not had it in this attempt.
    pub(super) fn hand(
        &mut self,
        node: usize,
        n: &Notification,
        attempt: Attempt,
    ) -> (Pushed, Vec<u64>) {
        let place = self.lives.get(&n.id).and_then(|life| life.in_log.map(|(place, _)| place));
        let kind = self.lives.get(&n.id).map_or("", |life| life.kind);
        let promoted = self.lives.get(&n.id).is_some_and(|life| life.promoted);
        // Each node appends again what it had accepted, so the order between nodes is another one.
        let moved = self.lives.get(&n.id).is_some_and(|life| life.forgotten);
        let (mut pushed, mut to_ack) = (Pushed::Nobody, Vec::new());
        for (number, connection) in &mut self.connections {
            if connection.node != node || user(connection.user) != n.user_id {
                continue;
            }
            let before = connection.handed.insert(n.id, attempt);
            if connection.acks {
                if before != Some(attempt) {
                    to_ack.push(*number);
                }
                if pushed == Pushed::Nobody {
                    pushed = Pushed::InFlight;
                }
            } else {
                pushed = Pushed::Written;
            }
        }
        if pushed != Pushed::Nobody
            && kind != "now"
            && !promoted
            && !moved
            && let Some(place) = place
            && self.pushed.insert((node, self.node_lives[node], n.id))
        {
            let key = (node, self.node_lives[node], n.user_id.clone());
            if self.pushed_last.insert(key, place) > Some(place) {
                self.break_promise(format!("node {node} pushes {} out of order", short(n.id)));
            }
        }
        if pushed != Pushed::Nobody
            && let Some(life) = self.lives.get_mut(&n.id)
        {
            life.written = true;
        }
        (pushed, to_ack)
    }
}

impl Life {
    pub(super) fn ttl(&self) -> Duration {
        match self.kind {
            "brief" | "promote" => Duration::from_secs(3),
            "now" => Duration::from_secs(1),
            _ => Duration::from_secs(30),
        }
    }

    pub(super) fn outcome(&self) -> Option<Outcome> {
        self.told.first().map(|(_, _, outcome)| *outcome)
    }
}
