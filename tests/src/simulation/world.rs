//! The state of the world outside the delivery: who is connected, what was sent, what was seen, and how each
//! notification ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use doorstep_application::delivery::{Delivery, Receipt, Refused};
use doorstep_domain::ports::{Attempt, Clock, Pushed};
use doorstep_domain::{Notification, NotificationId, Outcome, Payload, Timestamp, Topic, UserId};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;
use uuid::Uuid;

use super::Played;
use super::dice::Dice;
use super::stores::Stores;

pub(super) const USERS: u64 = 3;

/// An id as it appears in the story.
pub(super) fn short(id: NotificationId) -> u128 {
    id.as_uuid().as_u128()
}

pub(super) fn user(n: u64) -> UserId {
    format!("user-{n}").parse().expect("a user id")
}

pub(super) fn topic(n: u64) -> Topic {
    format!("topic-{n}").parse().expect("a topic")
}

/// How pushes currently behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushes {
    Go,
    /// One in four is delayed.
    Slow,
    /// One in four arrives at once, and its result is delayed.
    SlowAnswer,
    /// One in four fails.
    Fail,
    /// One in four never returns.
    Hang,
}

/// One live connection, as the server sees it.
pub(super) struct Connection {
    pub(super) user: u64,
    pub(super) acks: bool,
    /// The peer is gone, and the server does not know.
    pub(super) half_open: bool,
    /// The notifications that it was handed, each with the attempt.
    pub(super) handed: BTreeMap<NotificationId, Attempt>,
    /// Frames that its socket has not taken yet; at most [`OUTBOX`].
    pub(super) queued: usize,
    /// A push found it full and waits for room.
    pub(super) room_wanted: bool,
    /// The frames that reach the client.
    pub(super) frames: UnboundedSender<NotificationId>,
}

/// How many frames may wait for one socket: fewer than in a burst.
pub(super) const OUTBOX: usize = 4;

/// The life of a notification, seen from outside.
#[expect(clippy::struct_excessive_bools, reason = "events that happen in any combination")]
pub(super) struct Life {
    pub(super) notification: Notification,
    pub(super) user: u64,
    pub(super) kind: &'static str,
    pub(super) accepted: bool,
    /// Refused, or lost when its node crashed: no outcome will be seen.
    pub(super) gone: bool,
    pub(super) outcome: Option<Outcome>,
    /// An acknowledgement has ended it; the observers may not have been told yet.
    pub(super) acknowledged: bool,
    /// Promoted or accepted into the inbox: delivered from there, without another outcome.
    pub(super) in_inbox: bool,
    /// A frame was written to a client's connection, so the client may have seen it.
    pub(super) written: bool,
    /// It was written in time to a client that does not acknowledge: that is a delivery, even if the push returns
    /// after the deadline.
    pub(super) taken: bool,
    pub(super) push_begun: bool,
    /// Its sender was told that it is recalled, or of the outcome that it had.
    pub(super) recalled: bool,
    /// Its sender was told that no connection was ever handed it.
    pub(super) never_handed: bool,
    pub(super) first_push: Option<u64>,
    /// The life of the node that pushed it last.
    pub(super) pushed_in: Option<u64>,
}

pub(super) struct State {
    pub(super) dice: Dice,
    pub(super) connections: BTreeMap<u64, Connection>,
    pub(super) lives: BTreeMap<NotificationId, Life>,
    pub(super) pushes: Pushes,
    /// Until then a failed or hanging push or an unavailable store may delay things.
    pub(super) trouble_until: Instant,
    /// The order of a user's pushes is only promised while the inbox is available.
    pub(super) inbox_was_in_trouble: bool,
    /// A delayed push may reach a connection before its arrival is reported, and so before notifications that only
    /// the inbox has.
    pub(super) pushes_took_time: bool,
    pub(super) push_count: u64,
    /// Users whose last push reported that they do not read: delivery may drop notifications only for them.
    pub(super) not_reading: BTreeSet<u64>,
    pub(super) next: u64,
    pub(super) broken: Option<String>,
    pub(super) receipts: Vec<(NotificationId, Receipt)>,
    /// The current life of the node: actions of earlier lives have no effect.
    pub(super) node_life: u64,
    pub(super) delivery: Weak<Delivery>,
    /// Set towards the end: from then on users connect and disconnect only as the schedule says.
    pub(super) quiet: bool,
    /// What happened, in words, if requested.
    pub(super) story: Option<Vec<String>>,
}

pub(super) struct World {
    start: Instant,
    /// Microseconds that [`World::moment`] has added.
    moved_micros: AtomicU64,
    pub(super) stores: Stores,
    state: Mutex<State>,
}

impl World {
    pub(super) fn new(mut dice: Dice, tell: bool) -> Arc<Self> {
        let start = Instant::now();
        Arc::new(Self {
            start,
            moved_micros: AtomicU64::new(0),
            stores: Stores::new(dice.fork()),
            state: Mutex::new(State {
                dice,
                connections: BTreeMap::new(),
                lives: BTreeMap::new(),
                pushes: Pushes::Go,
                trouble_until: start,
                inbox_was_in_trouble: false,
                pushes_took_time: false,
                push_count: 0,
                not_reading: BTreeSet::new(),
                next: 0,
                broken: None,
                receipts: Vec::new(),
                node_life: 0,
                delivery: Weak::new(),
                quiet: false,
                story: tell.then(Vec::new),
            }),
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under this lock")
    }

    /// Adds to the story, if it was requested.
    pub(super) fn tell(&self, what: impl FnOnce() -> String) {
        let at = self.start.elapsed();
        self.state().tell(at, what);
    }

    /// Lets a microsecond pass in which nothing else happens.
    pub(super) fn moment(&self) {
        self.moved_micros.fetch_add(1, Relaxed);
    }

    /// A new number for a notification or a connection.
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
            topic: about.map(topic),
            payload: Payload::new(&id).expect("a payload"),
            created_at: self.now(),
            ttl: None,
            trace: None,
        };
        let life = Life {
            notification: notification.clone(),
            user: to,
            kind,
            accepted: false,
            gone: false,
            outcome: None,
            acknowledged: false,
            in_inbox: false,
            written: false,
            taken: false,
            push_begun: false,
            recalled: false,
            never_handed: false,
            first_push: None,
            pushed_in: None,
        };
        self.tell(|| format!("send {} ({kind}) to user {to}, topic {about:?}", short(id)));
        self.state().lives.insert(id, life);
        notification
    }

    pub(super) fn accepted(&self, id: NotificationId, receipt: Receipt) {
        self.tell(|| format!("accepted {} as {:?}", short(id), receipt.state()));
        let now = self.now();
        let mut state = self.state();
        state.check_mailbox(id, now);
        if let Some(life) = state.lives.get_mut(&id) {
            life.accepted = true;
            life.in_inbox |= life.kind == "inbox";
        }
        // Some receipts are kept and awaited, most are dropped: neither may change anything.
        if state.dice.one_in(4) {
            state.receipts.push((id, receipt));
        }
    }

    pub(super) fn refused(&self, id: NotificationId, refused: &Refused) {
        self.tell(|| format!("refused {}: {refused}", short(id)));
        let mut state = self.state();
        let maybe_stored = matches!(refused, Refused::Store(_));
        if let Some(life) = state.lives.get_mut(&id) {
            // The store reported a failure but may have written it, so it may be seen or not.
            life.accepted = !maybe_stored;
            life.in_inbox |= maybe_stored;
        }
    }

    /// Changes how pushes and stores behave.
    pub(super) fn weather(&self, dice: &mut Dice) {
        let mut state = self.state();
        state.pushes = match dice.below(6) {
            0 => Pushes::Fail,
            1 => Pushes::Hang,
            2 => Pushes::Slow,
            3 => Pushes::SlowAnswer,
            _ => Pushes::Go,
        };
        state.pushes_took_time |= !matches!(state.pushes, Pushes::Go | Pushes::Fail);
        let trouble = dice.one_in(3);
        self.stores.trouble(trouble);
        state.inbox_was_in_trouble |= trouble;
        let (at, pushes) = (self.start.elapsed(), state.pushes);
        state.tell(at, || format!("weather: pushes {pushes:?}, stores in trouble: {trouble}"));
        if !trouble && state.inbox_was_in_trouble {
            state.trouble_until = state.trouble_until.max(Instant::now() + Duration::from_secs(40));
        }
    }

    pub(super) fn fair_weather(&self) {
        self.state().pushes = Pushes::Go;
        self.stores.trouble(false);
    }

    /// The node is gone, and with it every connection.
    fn next_life(&self, state: &mut State) {
        self.stores.node_gone();
        state.node_life += 1;
        state.connections.clear();
        state.delivery = Weak::new();
    }

    /// The node has stopped as planned: notifications without an outcome are in the stores.
    pub(super) fn stopped(&self) {
        self.next_life(&mut self.state());
    }

    /// The node was killed: everything that was only in memory is gone.
    pub(super) fn crashed(&self) {
        let mut state = self.state();
        self.next_life(&mut state);
        state.receipts.clear();
        for (id, life) in &mut state.lives {
            if self.stores.has_undelivered(*id) {
                life.in_inbox = true;
                // Delivered, but not yet marked in the store: it will be delivered again.
                if life.outcome == Some(Outcome::Delivered) {
                    life.outcome = None;
                }
            }
            life.gone |= life.outcome.is_none() && life.kind != "inbox";
        }
    }

    /// The user reads their inbox, which delivers the items.
    pub(super) fn reading(&self, user: u64) {
        for life in self.state().lives.values_mut().filter(|life| life.user == user) {
            if life.in_inbox {
                life.written = true;
            }
        }
    }

    pub(super) fn played(&self, steps: u64) -> Played {
        let state = self.state();
        let count =
            |f: &dyn Fn(&Life) -> bool| state.lives.values().filter(|l| f(l)).count() as u64;
        Played {
            steps,
            accepted: count(&|life| life.accepted),
            delivered: count(&|life| life.outcome == Some(Outcome::Delivered)),
        }
    }
}

impl State {
    fn tell(&mut self, at: Duration, what: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push(format!("{:9.3} s  {}", at.as_secs_f64(), what()));
        }
    }

    pub(super) fn break_promise(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }
}

impl Clock for World {
    fn now(&self) -> Timestamp {
        let moved = Duration::from_micros(self.moved_micros.load(Relaxed));
        Timestamp::from_micros(1_700_000_000_000_000) + self.start.elapsed() + moved
    }
}

impl State {
    /// A push begins. Notifications that have ended must not be pushed.
    pub(super) fn begin_push(&mut self, id: NotificationId, in_time: bool) {
        if !in_time {
            self.break_promise(format!("{id} is pushed after its TTL"));
        }
        let recalled = self.lives.get(&id).is_some_and(|life| life.recalled);
        let outcome = self.lives.get_mut(&id).and_then(|life| {
            life.push_begun = true;
            life.outcome
        });
        if recalled {
            self.break_promise(format!("{id} is pushed after its sender has taken it back"));
        }
        if outcome.is_some_and(|outcome| outcome != Outcome::Promoted) {
            self.break_promise(format!("{id} is pushed after it had ended as {outcome:?}"));
        }
    }

    /// Hands a notification to each of its user's connections that has not had it in this attempt.
    pub(super) fn hand(&mut self, n: &Notification, attempt: Attempt, now: Timestamp) -> Pushed {
        if self.is_full_for(n, attempt) {
            return Pushed::Full;
        }
        self.push_count += 1;
        let count = self.push_count;
        let mut pushed = Pushed::Nobody;
        let mut written = false;
        for connection in self.connections.values_mut() {
            if user(connection.user) != n.user_id {
                continue;
            }
            let before = connection.handed.insert(n.id, attempt);
            if before != Some(attempt) && !connection.half_open {
                written = true;
                connection.queued += 1;
                // A client that does not acknowledge does not read either.
                connection.frames.send(n.id).ok();
            }
            if !connection.acks {
                pushed = Pushed::Written;
            } else if pushed == Pushed::Nobody {
                pushed = Pushed::InFlight;
            }
        }
        if pushed == Pushed::Nobody {
            return pushed;
        }
        let Some(life) = self.lives.get_mut(&n.id) else {
            self.break_promise(format!("{} was pushed and never sent", n.id));
            return pushed;
        };
        // An immediate notification is delivered once it is handed out; it needs no acknowledgement.
        life.written |= written || pushed == Pushed::Written || life.kind == "now";
        life.taken |= life.kind != "now" && pushed == Pushed::Written && now < life.expires_at();
        life.first_push.get_or_insert(count);
        life.pushed_in = Some(self.node_life);
        if life.never_handed {
            let what = format!("{} is handed out, and its sender was told that it never was", n.id);
            self.break_promise(what);
            return pushed;
        }
        // While the push was on its way, the notification may have been acknowledged elsewhere or evicted.
        let may_be = [Outcome::Promoted, Outcome::Delivered, Outcome::Dropped, Outcome::Recalled];
        if life.outcome.is_some_and(|outcome| !may_be.contains(&outcome)) {
            let what = format!("{} was pushed after it had ended as {:?}", n.id, life.outcome);
            self.break_promise(what);
        }
        pushed
    }
}

impl State {
    /// Whether a connection has no room for this notification. If so, none of the user's connections is handed it,
    /// so that all of them get everything in the same order.
    fn is_full_for(&mut self, n: &Notification, attempt: Attempt) -> bool {
        let theirs = self.connections.values_mut().filter(|c| user(c.user) == n.user_id);
        // A socket that takes nothing is skipped; it misses what the others take.
        let full = |c: &&mut Connection| {
            !c.half_open && c.queued >= OUTBOX && c.handed.get(&n.id) != Some(&attempt)
        };
        let mut any = false;
        for connection in theirs.filter(full) {
            connection.room_wanted = true;
            any = true;
        }
        any
    }

    /// Whether this user has a connection whose socket takes frames.
    pub(super) fn is_reading(&mut self, who: u64) -> bool {
        let reads = self.connections.values().any(|c| c.user == who && !c.half_open);
        if reads {
            self.not_reading.remove(&who)
        } else {
            self.not_reading.insert(who)
        };
        reads
    }

    /// The socket has taken a frame. Returns whether a push is waiting for the room.
    pub(super) fn took(&mut self, connection: u64) -> bool {
        let Some(connection) = self.connections.get_mut(&connection) else { return false };
        connection.queued = connection.queued.saturating_sub(1);
        connection.queued <= OUTBOX / 2 && std::mem::take(&mut connection.room_wanted)
    }
}

impl Life {
    pub(super) fn expires_at(&self) -> Timestamp {
        let seconds = if matches!(self.kind, "brief" | "promote") { 2 } else { 20 };
        self.notification.created_at + Duration::from_secs(seconds)
    }
}
