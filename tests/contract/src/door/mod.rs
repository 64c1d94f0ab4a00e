//! The suite of [`Presence`] and [`Pusher`]: a registry of live connections, with the transport that fills it.
//!
//! The two belong together: what one says of a user, the other must do. The suite opens and closes clients by a
//! [`DoorUnderTest`], pushes to them directly, and then lets a real [`Delivery`] do it.

mod delivers;
mod full;
mod order;
mod presence;
mod push;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use doorstep_application::delivery::Delivery;
use doorstep_domain::ports::{Attempt, Clock, Presence, Pushed, Pusher};
use doorstep_domain::{Notification, NotificationId, Payload, Timestamp, UserId};
use tokio::time::timeout;
use uuid::Uuid;

use crate::Clause;

/// How long the suite waits for what must come.
const PATIENCE: Duration = Duration::from_secs(5);

/// The promises of [`Presence`] and [`Pusher`] that the suite checks.
pub const CLAUSES: [Clause; 20] = [
    ABSENT,
    PRESENT,
    GONE,
    ONE_OF_TWO,
    READS,
    SHOWN,
    ALL_CONNECTIONS,
    ONLY_ITS_USER,
    ORDER,
    ONCE,
    AGAIN,
    LATECOMER,
    DEADLINE,
    DROPPED,
    NOBODY,
    FULL,
    MANY,
    ARRIVAL,
    ACKNOWLEDGED,
    DEPARTURE,
];

const ABSENT: Clause = Clause::new("absent", "a user without a connection is not online");
const PRESENT: Clause =
    Clause::new("present", "a user with a connection is online for as long as it is open");
const GONE: Clause =
    Clause::new("gone", "a user whose last connection has ended is not online any more");
const ONE_OF_TWO: Clause =
    Clause::new("one of two", "a user who closes one of two connections is still online");
const READS: Clause =
    Clause::new("reads", "a connection that takes what is pushed counts as reading");
const SHOWN: Clause = Clause::new("shown", "what is pushed is shown by the client, once");
const ALL_CONNECTIONS: Clause =
    Clause::new("all connections", "a push goes to all live connections of its user");
const ONLY_ITS_USER: Clause =
    Clause::new("only its user", "a push goes to no connection of another user");
const ORDER: Clause =
    Clause::new("order", "a connection shows the pushes of one user in the order of the calls");
const ONCE: Clause = Clause::new(
    "once per attempt",
    "a connection that got a notification in an attempt does not get it again in the same one, and still counts",
);
const AGAIN: Clause =
    Clause::new("a higher attempt", "with a higher attempt all connections get it again");
const LATECOMER: Clause = Clause::new(
    "latecomer",
    "a connection that was not there gets a notification that is pushed again in the same attempt",
);
const DEADLINE: Clause =
    Clause::new("deadline", "a notification whose deadline has passed is not shown");
const DROPPED: Clause = Clause::new(
    "dropped half-way",
    "a push that was dropped before it was done, and is made again, is shown once",
);
const NOBODY: Clause =
    Clause::new("nobody", "a push returns Nobody if and only if the user has no connection");
const FULL: Clause = Clause::new(
    "full",
    "a live connection that takes nothing is Full and never Nobody; what it took is shown in order once it reads",
);
const MANY: Clause =
    Clause::new("many at once", "pushes to many users at the same time do not disturb each other");
const ARRIVAL: Clause = Clause::new(
    "arrival",
    "a connection is visible before `arrived` is called for it: what waits is shown without another push",
);
const ACKNOWLEDGED: Clause = Clause::new(
    "acknowledged",
    "an acknowledgement of the client, or the write to a client that gives none, ends the notification",
);
const DEPARTURE: Clause = Clause::new(
    "departure",
    "what a connection has not acknowledged when it ends waits again at once, and is shown by the next one",
);

/// What the suite needs of an adapter. One that serves other users at the same time does not mind.
///
/// For tests of adapters with sockets use a runtime with several threads, or one whose time is not paused.
#[async_trait]
pub trait DoorUnderTest: Send + Sync + 'static {
    /// A client with one connection.
    type Client: Send + 'static;

    /// Who is there.
    fn presence(&self) -> Arc<dyn Presence>;

    /// Pushes to them.
    fn pusher(&self) -> Arc<dyn Pusher>;

    /// The clock that the pusher reads deadlines by.
    fn clock(&self) -> Arc<dyn Clock>;

    /// What the transport tells of arrivals, acknowledgements and departures. It was built on these two ports.
    fn delivery(&self) -> Arc<Delivery>;

    /// Opens a connection of this user. It is visible when this returns.
    async fn open(&self, user: &UserId) -> Self::Client;

    /// The next notification that the client shows. Waits for it.
    async fn shown(&self, client: &mut Self::Client) -> NotificationId;

    /// The client acknowledges it. Nothing to do for a transport without acknowledgements.
    async fn acknowledge(&self, client: &mut Self::Client, id: NotificationId);

    /// Closes the connection. Waits until its end is noticed.
    async fn close(&self, client: Self::Client);

    /// How many pushes of 10 KB a connection takes at most while its client reads nothing; `None` if there is no such
    /// bound, or if no client can be made to read nothing. Then the clause `full` is not checked.
    ///
    /// A client reads nothing while the suite does not wait in [`shown`](Self::shown).
    fn fills_after(&self) -> Option<usize> {
        None
    }

    /// The names of the clauses that cannot be asked of this door, each with the reason. Only those of [`EXEMPTABLE`] can
    /// be left out, and the suite prints what it does not check.
    fn not_asked(&self) -> &[(&'static str, &'static str)] {
        &[]
    }
}

/// The clauses that a door may be [exempt](DoorUnderTest::not_asked) from: each is about an argument of a push that whoever
/// pushes may be unable to choose, and no other clause rests on it.
pub const EXEMPTABLE: [Clause; 3] = [AGAIN, DEADLINE, DROPPED];

/// Fails for an exemption that does not exist or has no reason, and prints the others.
fn print_exemptions(not_asked: &[(&'static str, &'static str)]) {
    for (name, why) in not_asked {
        let known = EXEMPTABLE.iter().any(|clause| clause.name == *name);
        assert!(known, "no door is exempt from [{name}]; see DOOR_EXEMPTABLE");
        assert!(!why.trim().is_empty(), "the exemption from [{name}] needs a reason");
        println!("[{name}] is not checked: {why}");
    }
}

/// Whether the clause is checked with this door.
fn asks<D: DoorUnderTest>(door: &D, clause: Clause) -> bool {
    door.not_asked().iter().all(|(name, _)| *name != clause.name)
}

/// Checks every promise of [`CLAUSES`], except those that the door [names](DoorUnderTest::not_asked).
pub async fn presence_and_pusher<D: DoorUnderTest>(door: Arc<D>) {
    print_exemptions(door.not_asked());
    if door.fills_after().is_none() {
        println!("[{}] is not checked: `fills_after` returns None", FULL.name);
    }
    presence::check(&*door).await;
    push::check(&*door).await;
    order::check(&door).await;
    full::check(&*door).await;
    delivers::check(&door).await;
}

/// A user whom nobody knows yet.
fn somebody() -> UserId {
    format!("user-{}", Uuid::now_v7().simple()).parse().expect("a user id")
}

fn popup(user: &UserId) -> Notification {
    sized(user, 2)
}

/// One whose payload has this many bytes.
fn sized(user: &UserId, bytes: usize) -> Notification {
    let text = format!("\"{}\"", "x".repeat(bytes.saturating_sub(2)));
    Notification {
        id: NotificationId::new(Uuid::now_v7()),
        user_id: user.clone(),
        kind: "welcome".parse().expect("a kind"),
        topic: None,
        payload: Payload::parse(&text).expect("a payload"),
        created_at: Timestamp::from_micros(1_750_000_000_000_000),
        ttl: None,
        trace: None,
    }
}

/// Pushes it once, with a deadline in an hour.
async fn push<D: DoorUnderTest>(
    door: &D,
    n: &Notification,
    attempt: Attempt,
    clause: Clause,
) -> Pushed {
    let deadline = door.clock().now() + Duration::from_hours(1);
    match timeout(PATIENCE, door.pusher().push(n, attempt, deadline)).await {
        Ok(Ok(pushed)) => pushed,
        Ok(Err(error)) => clause.broken(format_args!("a push failed: {error}")),
        Err(_) => clause.broken("a push did not return within 5 s"),
    }
}

/// Pushes it, and expects that a connection has it.
async fn push_on<D: DoorUnderTest>(door: &D, n: &Notification, attempt: Attempt, clause: Clause) {
    let pushed = push(door, n, attempt, clause).await;
    let taken = matches!(pushed, Pushed::Written | Pushed::InFlight);
    clause.holds(taken, format_args!("expected Written or InFlight, and got {pushed:?}"));
}

/// The next that the client shows, within a while.
async fn next<D: DoorUnderTest>(
    door: &D,
    client: &mut D::Client,
    clause: Clause,
    expected: NotificationId,
) -> NotificationId {
    match timeout(PATIENCE, door.shown(client)).await {
        Ok(id) => id,
        Err(_) => clause.broken(format_args!("expected {expected}, and nothing was shown for 5 s")),
    }
}

/// Expects that the client shows exactly these, in this order.
async fn shows<D: DoorUnderTest>(
    door: &D,
    client: &mut D::Client,
    expected: &[NotificationId],
    clause: Clause,
) {
    for (place, id) in expected.iter().enumerate() {
        let came = next(door, client, clause, *id).await;
        let of = expected.len();
        clause.same(format_args!("number {} of {of} that was shown", place + 1), &came, id);
        door.acknowledge(client, came).await;
    }
}

/// Expects that the client shows nothing more of what was pushed so far: what is pushed now comes next.
async fn shows_nothing_more<D: DoorUnderTest>(
    door: &D,
    user: &UserId,
    client: &mut D::Client,
    clause: Clause,
) {
    let last = popup(user);
    push_on(door, &last, Attempt::FIRST, clause).await;
    let came = next(door, client, clause, last.id).await;
    clause.same("nothing more was to be shown before the last", &came, &last.id);
    door.acknowledge(client, came).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exemption_names_a_clause_that_can_be_left_out_and_a_reason() {
        print_exemptions(&[("a higher attempt", "nobody can choose one")]);
        for wrong in [("order", "it is hard"), ("unheard of", "why not"), ("deadline", " ")] {
            assert!(std::panic::catch_unwind(|| print_exemptions(&[wrong])).is_err(), "{wrong:?}");
        }
    }
}
