//! The suite of [`Sessions`].

use std::sync::Arc;
use std::time::Duration;

use doorstep_domain::ports::{Accounts, Sessions};
use doorstep_domain::{Session, Timestamp, TokenHash, UserId};
use uuid::Uuid;

use crate::clause::clauses;
use crate::sample::{NOW, name, registered, session, stranger, user};
use crate::{Clause, Reopens};

clauses! {
    /// The promises of [`Sessions`] that the suite checks.
    FIRST = "session of a registration": "the session that a user registered with is found";
    FOUND = "session found": "a session is found by its token, with everything that was stored, and no other session is";
    EXPIRED = "session expired": "a session is found until, and not at, the time when it expires";
    UNKNOWN = "session unknown": "an unknown token finds no session";
    CLOSED = "session closed": "a closed session is not found; other sessions are, and to close it again is no error";
    PURGED = "session purge": "a purge deletes what has expired by then, and nothing else";
    PURGE_COUNT = "session purge count": "a purge returns how many it deleted";
    NOBODY = "session of nobody": "a session of an unknown user is not stored";
    DURABLE = "session durable": "what was opened or closed is so after the store was closed and opened again";
}

/// [`Sessions`]; `accounts` is the same store, for the users of the sessions. Checks every promise of [`CLAUSES`] but the
/// durability, for which see [`durable_sessions`].
pub async fn sessions(accounts: Arc<dyn Accounts>, store: Arc<dyn Sessions>) {
    a_registration_opens_the_first(&*accounts, &*store).await;
    a_session_is_found_until_it_expires(&*accounts, &*store).await;
    a_closed_session_is_gone(&*accounts, &*store).await;
    expired_sessions_are_purged(&*accounts, &*store).await;
    an_unknown_user_gets_no_session(&*store).await;
}

/// What [`Sessions`] promises to keep, in a store that can be closed and opened again.
pub async fn durable_sessions<R: Reopens<Store: Accounts + Sessions>>(place: &mut R) {
    let store = place.reopen().await;
    let ada = registered(&*store).await.id;
    let [closed, other] = [session(&ada, Timestamp::MAX), session(&ada, Timestamp::MAX)];
    for session in [&closed, &other] {
        DURABLE.done("open", store.open(session).await);
    }
    DURABLE.done("close", Sessions::close(&*store, &closed.token).await);
    drop(store);
    let store = place.reopen().await;
    finds(&*store, "what was opened", &other.token, NOW, Some(&other), DURABLE).await;
    finds(&*store, "what was closed", &closed.token, NOW, None, DURABLE).await;
}

/// The resolution of timestamps.
const TICK: Duration = Duration::from_micros(1);

async fn finds(
    store: &dyn Sessions,
    what: &str,
    token: &TokenHash,
    now: Timestamp,
    expected: Option<&Session>,
    clause: Clause,
) {
    let came = clause.done("find", store.find(token, now).await);
    clause.same_one(what, came.as_ref(), expected);
}

async fn a_registration_opens_the_first(accounts: &dyn Accounts, store: &dyn Sessions) {
    let user = user(name());
    let session = session(&user.user.id, NOW);
    FIRST.done("register", accounts.register(&user, &session).await);
    let what = "the session of a registration";
    finds(store, what, &session.token, NOW - TICK, Some(&session), FIRST).await;
}

async fn a_session_is_found_until_it_expires(accounts: &dyn Accounts, store: &dyn Sessions) {
    let ada = registered(accounts).await.id;
    let [one, two] = [session(&ada, NOW), session(&ada, Timestamp::MAX)];
    for session in [&one, &two] {
        FOUND.done("open", store.open(session).await);
    }
    let before = NOW - TICK;
    finds(store, "just before it expires", &one.token, before, Some(&one), FOUND).await;
    finds(store, "the one that does not expire", &two.token, NOW, Some(&two), FOUND).await;
    finds(store, "at the time when it expires", &one.token, NOW, None, EXPIRED).await;
    let unknown = session(&ada, Timestamp::MAX).token;
    finds(store, "by an unknown token", &unknown, NOW, None, UNKNOWN).await;
}

async fn a_closed_session_is_gone(accounts: &dyn Accounts, store: &dyn Sessions) {
    let ada = registered(accounts).await.id;
    let [closed, other] = [session(&ada, Timestamp::MAX), session(&ada, Timestamp::MAX)];
    for session in [&closed, &other] {
        CLOSED.done("open", store.open(session).await);
    }
    for _ in 0..2 {
        CLOSED.done("close", store.close(&closed.token).await);
    }
    finds(store, "what was closed", &closed.token, NOW, None, CLOSED).await;
    finds(store, "another of the same user", &other.token, NOW, Some(&other), CLOSED).await;
}

async fn expired_sessions_are_purged(accounts: &dyn Accounts, store: &dyn Sessions) {
    let ada = registered(accounts).await.id;
    PURGED.done("purge", store.purge(NOW).await);
    let earlier = NOW - Duration::from_hours(1);
    let [gone, last, stays] = [earlier, NOW, NOW + TICK].map(|at| session(&ada, at));
    for session in [&gone, &last, &stays] {
        PURGED.done("open", store.open(session).await);
    }
    let count = PURGED.done("purge", store.purge(NOW).await);
    let before_all = Timestamp::default();
    finds(store, "what expired an hour ago", &gone.token, before_all, None, PURGED).await;
    finds(store, "what expires at that time", &last.token, before_all, None, PURGED).await;
    finds(store, "what expires later", &stays.token, NOW, Some(&stays), PURGED).await;
    PURGE_COUNT.same("what a purge of two returns", &count, &2);
    let again = PURGE_COUNT.done("purge", store.purge(NOW).await);
    PURGE_COUNT.same("what a purge of nothing returns", &again, &0);
}

async fn an_unknown_user_gets_no_session(store: &dyn Sessions) {
    for nobody in [UserId::from(Uuid::now_v7()), stranger()] {
        let session = session(&nobody, Timestamp::MAX);
        let came = store.open(&session).await;
        NOBODY.holds(came.is_err(), "expected an error for a session of nobody, and got success");
        finds(store, "the session of nobody", &session.token, NOW, None, NOBODY).await;
    }
}
