//! Registries of connections: the one in memory, with a flaw.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use doorstep_application::delivery::Delivery;
use doorstep_domain::ports::{Attempt, Clock, Presence, PushError, Pushed, Pusher};
use doorstep_domain::{Notification, NotificationId, Timestamp, UserId};
use tokio::task::yield_now;

use super::{WrongAdapter, with_flaws};
use crate::memory_door::{MemoryClient, MemoryDoor, QUEUE};
use crate::{DoorUnderTest, presence_and_pusher};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    AlwaysOnline,
    NeverOnline,
    OnlineLate,
    OnlineForEver,
    OneClosesAll,
    NeverReading,
    ShowsNothing,
    FirstConnectionOnly,
    AllUsers,
    NewestFirst,
    AgainInTheSameAttempt,
    NeverAgain,
    RemembersThePush,
    IgnoresDeadlines,
    ForgetsWhatWasDropped,
    InFlightForNobody,
    NobodyAtFirst,
    NobodyForFull,
    NeverFull,
    LosesWhatIsTakenWhenFull,
    OnePlaceForAllUsers,
    ArrivedBeforeVisible,
    NoArrival,
    NoAcknowledgement,
    NoDeparture,
}

/// What each does, and the promise that it breaks.
const ALL: [(Flaw, &str, &str); 25] = [
    (Flaw::AlwaysOnline, "says that everybody is online", "absent"),
    (Flaw::NeverOnline, "says that nobody is online", "present"),
    (Flaw::OnlineLate, "sees a connection 50 ms late", "present"),
    (Flaw::OnlineForEver, "keeps users online whose connections have ended", "gone"),
    (Flaw::OneClosesAll, "takes a user for gone when one of two connections ends", "one of two"),
    (Flaw::NeverReading, "says that nobody reads", "reads"),
    (Flaw::ShowsNothing, "says that it has pushed, and does not", "shown"),
    (Flaw::FirstConnectionOnly, "pushes to the first connection only", "all connections"),
    (Flaw::AllUsers, "pushes to the connections of all users", "only its user"),
    (Flaw::NewestFirst, "lets a connection take the newest first", "order"),
    (Flaw::AgainInTheSameAttempt, "pushes again in the same attempt", "once per attempt"),
    (Flaw::NeverAgain, "does not push again with a higher attempt", "a higher attempt"),
    (Flaw::RemembersThePush, "remembers the push and not who got it", "latecomer"),
    (Flaw::IgnoresDeadlines, "shows what is over", "deadline"),
    (
        Flaw::ForgetsWhatWasDropped,
        "takes a push that was dropped half-way for done",
        "dropped half-way",
    ),
    (Flaw::InFlightForNobody, "returns InFlight for a user without a connection", "nobody"),
    (Flaw::NobodyAtFirst, "returns Nobody for the first push to a connection", "nobody"),
    (Flaw::NobodyForFull, "returns Nobody if a queue is full", "full"),
    (Flaw::NeverFull, "throws away what does not fit, and returns InFlight", "full"),
    (Flaw::LosesWhatIsTakenWhenFull, "loses the last that fits", "full"),
    (Flaw::OnePlaceForAllUsers, "keeps whom it pushes to in one place for all", "many at once"),
    (Flaw::ArrivedBeforeVisible, "calls `arrived` before the connection is visible", "arrival"),
    (Flaw::NoArrival, "does not call `arrived`", "arrival"),
    (Flaw::NoAcknowledgement, "does not pass on acknowledgements", "acknowledged"),
    (Flaw::NoDeparture, "does not call `departed`", "departure"),
];

pub(super) fn all() -> Vec<WrongAdapter> {
    with_flaws(&ALL, |flaw| async move {
        presence_and_pusher(Arc::new(WrongDoor::with(flaw))).await;
    })
}

/// The registry in memory behind a flaw.
struct Wrong {
    flaw: Flaw,
    inner: Arc<MemoryDoor>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    seen: BTreeSet<UserId>,
    closed: BTreeSet<UserId>,
    pushed: HashSet<(NotificationId, Attempt)>,
    begun: HashSet<NotificationId>,
    pushes: u16,
    in_queue: usize,
    to: Option<UserId>,
}

struct WrongDoor(Arc<Wrong>, Arc<Delivery>);

impl WrongDoor {
    fn with(flaw: Flaw) -> Self {
        let wrong = Arc::new(Wrong { flaw, inner: MemoryDoor::mute(), state: Mutex::default() });
        let clock = wrong.inner.clock();
        let delivery = Delivery::builder(wrong.clone(), wrong.clone(), clock).start();
        Self(wrong, Arc::new(delivery.expect("a tokio runtime")))
    }
}

impl Wrong {
    fn is(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Presence for Wrong {
    async fn is_online(&self, user: &UserId) -> bool {
        let online = self.inner.is_online(user).await;
        match self.flaw {
            Flaw::AlwaysOnline => true,
            Flaw::NeverOnline => false,
            Flaw::OnlineLate => online && !self.state().seen.contains(user),
            Flaw::OnlineForEver => online || self.state().seen.contains(user),
            Flaw::OneClosesAll => online && !self.state().closed.contains(user),
            _ => online,
        }
    }

    async fn is_reading(&self, user: &UserId) -> bool {
        !self.is(Flaw::NeverReading) && self.inner.is_online(user).await
    }
}

#[async_trait]
impl Pusher for Wrong {
    async fn push(
        &self,
        n: &Notification,
        attempt: Attempt,
        deadline: Timestamp,
    ) -> Result<Pushed, PushError> {
        let push = |attempt| self.inner.push_to(n, attempt, deadline, |_| true);
        let user = &n.user_id;
        Ok(match self.flaw {
            Flaw::ShowsNothing if self.inner.is_online(user).await => Pushed::InFlight,
            Flaw::FirstConnectionOnly => {
                self.inner.push_to(n, attempt, deadline, |place| place == 0)
            }
            Flaw::AllUsers => {
                let others: Vec<_> = self.state().seen.iter().cloned().collect();
                for other in others.into_iter().filter(|other| other != user) {
                    let theirs = Notification { user_id: other, ..n.clone() };
                    self.inner.push_to(&theirs, attempt, deadline, |_| true);
                }
                push(attempt)
            }
            Flaw::AgainInTheSameAttempt => {
                let mut again = attempt;
                let pushes = {
                    let mut state = self.state();
                    state.pushes += 1;
                    state.pushes
                };
                for _ in 0..pushes {
                    again = again.next();
                }
                push(again)
            }
            Flaw::NeverAgain => push(Attempt::FIRST),
            Flaw::RemembersThePush => {
                let new = self.state().pushed.insert((n.id, attempt));
                if new || !self.inner.is_online(user).await {
                    push(attempt)
                } else {
                    Pushed::InFlight
                }
            }
            Flaw::IgnoresDeadlines => self.inner.push_to(n, attempt, Timestamp::MAX, |_| true),
            Flaw::ForgetsWhatWasDropped => {
                if !self.state().begun.insert(n.id) {
                    return Ok(Pushed::InFlight);
                }
                yield_now().await;
                let pushed = push(attempt);
                self.state().begun.remove(&n.id);
                pushed
            }
            Flaw::InFlightForNobody => match push(attempt) {
                Pushed::Nobody => Pushed::InFlight,
                other => other,
            },
            Flaw::NobodyAtFirst if self.state().seen.remove(user) => Pushed::Nobody,
            Flaw::NobodyForFull => match push(attempt) {
                Pushed::Full => Pushed::Nobody,
                other => other,
            },
            Flaw::NeverFull => match push(attempt) {
                Pushed::Full => Pushed::InFlight,
                other => other,
            },
            Flaw::LosesWhatIsTakenWhenFull => {
                // Only a client that reads nothing gets that far.
                let last = {
                    let mut state = self.state();
                    let same = state.to.as_ref() == Some(user);
                    state.in_queue = if same { state.in_queue + 1 } else { 1 };
                    state.to = Some(user.clone());
                    n.payload.as_str().len() > 5000 && state.in_queue == QUEUE
                };
                if last { Pushed::InFlight } else { push(attempt) }
            }
            Flaw::OnePlaceForAllUsers => {
                self.state().to = Some(user.clone());
                yield_now().await;
                let to = self.state().to.clone().unwrap_or_else(|| user.clone());
                let n = Notification { user_id: to, ..n.clone() };
                self.inner.push_to(&n, attempt, deadline, |_| true)
            }
            _ => push(attempt),
        })
    }
}

#[async_trait]
impl DoorUnderTest for WrongDoor {
    type Client = MemoryClient;

    fn presence(&self) -> Arc<dyn Presence> {
        self.0.clone()
    }

    fn pusher(&self) -> Arc<dyn Pusher> {
        self.0.clone()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.0.inner.clock()
    }

    fn delivery(&self) -> Arc<Delivery> {
        self.1.clone()
    }

    async fn open(&self, user: &UserId) -> MemoryClient {
        let Self(wrong, delivery) = self;
        if wrong.is(Flaw::ArrivedBeforeVisible) {
            delivery.arrived(user);
            yield_now().await;
        }
        {
            let mut state = wrong.state();
            state.seen.insert(user.clone());
            state.closed.remove(user);
        }
        let client = wrong.inner.connect(user);
        if wrong.is(Flaw::OnlineLate) {
            let (wrong, user) = (wrong.clone(), user.clone());
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                wrong.state().seen.remove(&user);
            });
        }
        if !matches!(wrong.flaw, Flaw::ArrivedBeforeVisible | Flaw::NoArrival) {
            delivery.arrived(user);
        }
        client
    }

    async fn shown(&self, client: &mut MemoryClient) -> NotificationId {
        let Self(wrong, delivery) = self;
        let user = client.user().clone();
        let n = if wrong.is(Flaw::NewestFirst) {
            wrong.inner.newest(client).await
        } else {
            wrong.inner.next(client).await
        };
        delivery.ready(&user);
        n.id
    }

    async fn acknowledge(&self, client: &mut MemoryClient, id: NotificationId) {
        let Self(wrong, delivery) = self;
        wrong.inner.acknowledged(client, id);
        if !wrong.is(Flaw::NoAcknowledgement) {
            delivery.acknowledged(client.user(), id);
        }
    }

    async fn close(&self, client: MemoryClient) {
        let Self(wrong, delivery) = self;
        let user = client.user().clone();
        wrong.state().closed.insert(user.clone());
        wrong.inner.disconnect(client);
        if !wrong.is(Flaw::NoDeparture) {
            delivery.departed(&user);
        }
    }

    fn fills_after(&self) -> Option<usize> {
        Some(QUEUE)
    }
}
