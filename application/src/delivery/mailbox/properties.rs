//! Runs arbitrary schedules against the mailroom alone and checks its invariants after each step.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use doorstep_domain::{
    Notification, NotificationId, Outcome, Payload, Timestamp, Topic, TraceParent, Ttl, UserId,
};
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::{prop_assert, prop_assert_eq, proptest};
use uuid::Uuid;

use super::entry::{EntryState, NIL};
use super::{Admission, Bound, Due, Held, Mailroom, Next, Push, PushResult};
use crate::delivery::policy::{Overflow, Rule};

const USERS: u8 = 3;
const MAX_PER_USER: usize = 4;
const ACK_TIMEOUT: Duration = Duration::from_millis(40);

#[derive(Debug, Clone)]
enum Step {
    Accept { user: u8, topic: Option<u8>, ttl_ms: u8, reject: bool, reading: bool },
    Begin(u8),
    Next(u8),
    Pushed(u8, Answer),
    Changed(u8),
    Ack { user: u8, which: u8 },
    Pass { ms: u8 },
    Abandon(u8),
    Shrink,
}

#[derive(Debug, Clone, Copy)]
enum Answer {
    Written,
    InFlight,
    Nobody,
    Full,
    Failed,
}

fn step() -> impl Strategy<Value = Step> {
    let user = 0..USERS;
    let answer = prop_oneof![
        2 => proptest::strategy::Just(Answer::Written),
        3 => proptest::strategy::Just(Answer::InFlight),
        2 => proptest::strategy::Just(Answer::Nobody),
        2 => proptest::strategy::Just(Answer::Full),
        1 => proptest::strategy::Just(Answer::Failed),
    ];
    prop_oneof![
        4 => (
            user.clone(),
            proptest::option::weighted(0.4, 0..2_u8),
            1..100_u8,
            any::<bool>(),
            any::<bool>(),
        )
            .prop_map(|(user, topic, ttl_ms, reject, reading)| {
                Step::Accept { user, topic, ttl_ms, reject, reading }
            }),
        3 => user.clone().prop_map(Step::Begin),
        5 => user.clone().prop_map(Step::Next),
        5 => (user.clone(), answer).prop_map(|(user, answer)| Step::Pushed(user, answer)),
        2 => user.clone().prop_map(Step::Changed),
        3 => (user, any::<u8>()).prop_map(|(user, which)| Step::Ack { user, which }),
        2 => (0..60_u8).prop_map(|ms| Step::Pass { ms }),
        1 => (0..USERS).prop_map(Step::Abandon),
        1 => proptest::strategy::Just(Step::Shrink),
    ]
}

/// The test's own records: which users are being flushed, what was accepted, and how it ended.
#[derive(Default)]
struct World {
    room: Mailroom,
    now: Timestamp,
    held: BTreeSet<u8>,
    pushing: BTreeMap<u8, Push>,
    accepted: Vec<(NotificationId, u8, Timestamp)>,
    first_pushed: BTreeMap<u8, Vec<NotificationId>>,
    ended: BTreeMap<NotificationId, Outcome>,
    /// How many entries came in, and how many the mailroom reported as removed: all have a kind with limits.
    came: usize,
    went: usize,
}

type Checked = Result<(), proptest::test_runner::TestCaseError>;

/// The trace of the notification with this id: every second one has one.
fn trace_of(id: NotificationId) -> Option<TraceParent> {
    let number = id.as_uuid().as_u128();
    let text = format!("00-{:032x}-00f067aa0ba902b7-01", number + 1);
    number.is_multiple_of(2).then(|| text.parse().unwrap())
}

fn name(user: u8) -> UserId {
    format!("user-{user}").parse().unwrap()
}

impl World {
    fn end(&mut self, n: &Notification, outcome: Outcome) -> Checked {
        prop_assert!(self.ended.insert(n.id, outcome).is_none(), "{} ended twice", n.id);
        prop_assert_eq!(n.trace, trace_of(n.id), "another's trace");
        Ok(())
    }

    fn apply(&mut self, step: &Step) -> Checked {
        match *step {
            Step::Accept { user, topic, ttl_ms, reject, reading } => {
                let id = NotificationId::new(Uuid::from_u128(self.accepted.len() as u128));
                let ttl = Ttl::new(Duration::from_millis(ttl_ms.into())).unwrap();
                let topic: Option<Topic> = topic.map(|t| format!("t{t}").parse().unwrap());
                let n = Notification {
                    id,
                    user_id: name(user),
                    kind: "k".parse().unwrap(),
                    topic: topic.clone(),
                    payload: Payload::new(&1).unwrap(),
                    created_at: self.now,
                    ttl: None,
                    // Every second one belongs to a trace.
                    trace: trace_of(id),
                };
                self.accepted.push((id, user, self.now + ttl.as_duration()));
                let overflow = if reject { Overflow::Reject } else { Overflow::DropOldest };
                let rule = Rule { max_per_user: MAX_PER_USER, overflow, ..Rule::default() };
                let n = match self.room.accept(n, ttl, &rule, Bound::Ask, true) {
                    Admission::In(gone) => return self.came_in(gone, topic.as_ref(), None),
                    Admission::Full(n) => n,
                };
                let bound = if reading { Bound::Open } else { Bound::Enforce };
                match self.room.accept(n, ttl, &rule, bound, true) {
                    Admission::In(gone) => {
                        self.came_in(gone, topic.as_ref(), Some(bound))?;
                        let mailbox = self.room.find(&name(user)).unwrap();
                        let waiting = self.room.mailboxes[mailbox as usize].waiting as usize;
                        let bounded = reading || waiting <= MAX_PER_USER;
                        prop_assert!(bounded, "{waiting} wait for a user who does not read");
                    }
                    Admission::Full(n) => {
                        prop_assert!(reject && !reading, "refused against the rule");
                        self.end(&n, Outcome::Rejected)?;
                    }
                }
            }
            Step::Begin(user) => {
                if self.room.begin_flush(&name(user)) {
                    prop_assert!(self.held.insert(user), "two flushes of one mailbox");
                }
            }
            Step::Next(user) => self.next(user)?,
            Step::Pushed(user, answer) => self.pushed(user, answer)?,
            Step::Changed(user) => self.room.presence_changed(&name(user)),
            Step::Ack { user, which } => {
                let some = usize::from(which) % (self.accepted.len() + 1);
                let id = self.accepted.get(some).map_or(NotificationId::new(Uuid::max()), |a| a.0);
                if let Some(acked) = self.room.acknowledged(&name(user), id) {
                    prop_assert_eq!(
                        self.accepted[some].1,
                        user,
                        "a forged acknowledgement counted"
                    );
                    let seen = self.first_pushed.get(&user).is_some_and(|p| p.contains(&id));
                    prop_assert!(seen, "acknowledged before it was pushed");
                    self.end(&acked.notification, Outcome::Delivered)?;
                }
            }
            Step::Pass { ms } => {
                self.now = self.now + Duration::from_millis(ms.into());
                self.end_what_is_due()?;
            }
            Step::Abandon(user) => {
                if self.held.remove(&user) {
                    self.pushing.remove(&user);
                    let retry_at = self.now + Duration::from_millis(10);
                    self.room.abandoned(&name(user), self.now, retry_at);
                }
            }
            Step::Shrink => self.room.shrink(),
        }
        Ok(())
    }

    /// One came in, and these made room: a topic replaces at most one, and only an enforced limit drops any.
    fn came_in(
        &mut self,
        gone: Vec<(Notification, Outcome)>,
        topic: Option<&Topic>,
        bound: Option<Bound>,
    ) -> Checked {
        self.came += 1;
        for (gone, outcome) in gone {
            if outcome == Outcome::Replaced {
                prop_assert_eq!(gone.topic.as_ref(), topic);
            } else {
                prop_assert_eq!(bound, Some(Bound::Enforce), "dropped while the user reads");
            }
            self.end(&gone, outcome)?;
        }
        Ok(())
    }

    fn next(&mut self, user: u8) -> Checked {
        if !self.held.contains(&user) || self.pushing.contains_key(&user) {
            return Ok(());
        }
        match self.room.next(&name(user), self.now) {
            Next::Push(push) => {
                prop_assert!(self.now < push.deadline, "pushed after its TTL");
                let id = push.notification.id;
                let pushed = self.first_pushed.entry(user).or_default();
                if !pushed.contains(&id) {
                    prop_assert!(pushed.iter().all(|earlier| *earlier < id), "out of order");
                    pushed.push(id);
                }
                self.pushing.insert(user, push);
            }
            Next::Ended(n, outcome) => self.end(&n, outcome)?,
            Next::Stop => {
                self.held.remove(&user);
            }
            Next::Look => prop_assert!(false, "there is no inbox"),
        }
        Ok(())
    }

    fn pushed(&mut self, user: u8, answer: Answer) -> Checked {
        let Some(push) = self.pushing.remove(&user) else { return Ok(()) };
        let result = match answer {
            Answer::Written => PushResult::Written,
            Answer::InFlight => PushResult::InFlight { ack_by: self.now + ACK_TIMEOUT },
            Answer::Nobody => PushResult::Nobody,
            Answer::Full => PushResult::Full { retry_at: self.now + Duration::from_millis(10) },
            Answer::Failed => PushResult::Failed { retry_at: self.now + Duration::from_millis(10) },
        };
        let after = self.room.pushed(&name(user), &push, result, self.now);
        if let Some((acked, outcome)) = after.ended {
            self.end(&acked.notification, outcome)?;
        }
        if !after.go_on {
            self.held.remove(&user);
        }
        Ok(())
    }

    fn end_what_is_due(&mut self) -> Checked {
        let mut due = Due::default();
        while self.room.due(self.now, 2, &mut due) {}
        for n in due.expired {
            let deadline = self.accepted.iter().find(|a| a.0 == n.id).unwrap().2;
            prop_assert!(self.now >= deadline, "expired before its TTL");
            self.end(&n, Outcome::Expired)?;
        }
        Ok(())
    }

    /// Checks the internal invariants, which must hold after every step.
    fn check(&mut self) -> Checked {
        self.went += self.room.take_removed_limited().len();
        let room = &self.room;
        let (mut entries, mut in_flight, mut timed, mut bytes) = (0, 0, 0, 0);
        let (mut traced, mut oldest) = (0, self.now);
        prop_assert_eq!(room.directory.len(), room.mailboxes.len());
        for (key, mailbox) in &room.mailboxes {
            prop_assert_eq!(room.find(&mailbox.user), u32::try_from(key).ok());
            let (mut index, mut prev, mut before_cursor) = (mailbox.first, NIL, true);
            let (mut len, mut waiting) = (0, 0);
            while index != NIL {
                let entry = &room.entries[index as usize];
                prop_assert_eq!((entry.prev, entry.mailbox as usize), (prev, key));
                before_cursor &= index != mailbox.cursor;
                if before_cursor {
                    prop_assert!(
                        entry.state != EntryState::Waiting,
                        "the cursor skips one that waits"
                    );
                }
                prop_assert!(
                    entry.timed || entry.state == EntryState::Pushing,
                    "an entry that never becomes due"
                );
                let id = room.entries[index as usize].id;
                let found = room.with_id(u32::try_from(key).unwrap(), id, |_| true);
                prop_assert_eq!(found, Some(index), "the index of ids is off");
                len += 1;
                waiting += u32::from(entry.state == EntryState::Waiting);
                in_flight += usize::from(entry.state == EntryState::InFlight);
                timed += usize::from(entry.timed);
                bytes += entry.bytes();
                traced += usize::from(entry.traced);
                if entry.state.waits() {
                    oldest = oldest.min(entry.created_at);
                }
                prop_assert_eq!(room.copy_of(index).trace, trace_of(entry.id));
                (prev, index) = (index, entry.next);
            }
            prop_assert_eq!((mailbox.last, mailbox.waiting), (prev, waiting));
            prop_assert!(
                len > 0 || self.held.iter().any(|u| name(*u) == mailbox.user),
                "an empty mailbox is kept"
            );
            entries += len;
        }
        prop_assert_eq!(entries, room.entries.len());
        prop_assert_eq!(entries, room.ids.len());
        prop_assert_eq!(entries, self.came - self.went, "a kind's count is off");
        prop_assert_eq!(in_flight, room.in_flight);
        prop_assert_eq!(bytes, room.bytes);
        prop_assert_eq!(traced, room.traces.len());
        let waiting: Vec<_> = room.census.each(self.now).collect();
        let counted: u64 = waiting.iter().map(|kind| kind.waiting).sum();
        prop_assert_eq!(usize::try_from(counted), Ok(room.held().waiting), "the census is off");
        let age = self.now.since(oldest);
        prop_assert!(waiting.iter().all(|kind| kind.oldest <= age), "{:?}: {:?}", age, waiting);
        prop_assert_eq!(timed, room.due.len(&room.entries));
        prop_assert_eq!(entries + self.ended.len(), self.accepted.len(), "one was lost");
        Ok(())
    }
}

proptest! {
    #[test]
    fn the_invariants_hold_on_arbitrary_schedules(steps in vec(step(), 1..120)) {
        let mut world = World::default();
        for step in &steps {
            world.apply(step)?;
            world.check()?;
        }
        // The flushes finish, the longest TTL ends, and nothing is left.
        for user in 0..USERS {
            world.pushed(user, Answer::Nobody)?;
            while world.held.contains(&user) {
                world.next(user)?;
                world.pushed(user, Answer::Nobody)?;
            }
        }
        world.now = world.now + Duration::from_secs(1);
        world.end_what_is_due()?;
        world.check()?;
        prop_assert_eq!(world.room.held(), Held::default());
        prop_assert_eq!(world.ended.len(), world.accepted.len());
    }
}
