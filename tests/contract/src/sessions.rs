use std::sync::Arc;
use std::time::Duration;

use doorstep_domain::Timestamp;
use doorstep_domain::UserId;
use doorstep_domain::ports::{Accounts, Sessions};
use uuid::Uuid;

use super::sample::{NOW, name, registered, session, user};

/// [`Sessions`]; `accounts` is the same store, for the users of the sessions.
pub async fn sessions(accounts: Arc<dyn Accounts>, store: Arc<dyn Sessions>) {
    a_registration_opens_the_first(&*accounts, &*store).await;
    a_session_is_found_until_it_expires(&*accounts, &*store).await;
    a_closed_session_is_gone(&*accounts, &*store).await;
    expired_sessions_are_purged(&*accounts, &*store).await;
    an_unknown_user_gets_no_session(&*store).await;
}

/// The resolution of timestamps.
const TICK: Duration = Duration::from_micros(1);

async fn a_registration_opens_the_first(accounts: &dyn Accounts, store: &dyn Sessions) {
    let user = user(name());
    let session = session(&user.user.id, NOW);
    accounts.register(&user, &session).await.expect("a new user registers");
    let found = store.find(&session.token, NOW - TICK).await.expect("answers");
    assert_eq!(found, Some(session));
}

async fn a_session_is_found_until_it_expires(accounts: &dyn Accounts, store: &dyn Sessions) {
    let ada = registered(accounts).await.id;
    let [one, two] = [session(&ada, NOW), session(&ada, Timestamp::MAX)];
    for session in [&one, &two] {
        store.open(session).await.expect("a session opens");
    }
    assert_eq!(store.find(&one.token, NOW - TICK).await.expect("answers"), Some(one.clone()));
    assert_eq!(store.find(&one.token, NOW).await.expect("answers"), None, "dead from then on");
    assert_eq!(store.find(&two.token, NOW).await.expect("answers"), Some(two));
    let unknown = session(&ada, Timestamp::MAX).token;
    assert_eq!(store.find(&unknown, NOW).await.expect("answers"), None);
}

async fn a_closed_session_is_gone(accounts: &dyn Accounts, store: &dyn Sessions) {
    let ada = registered(accounts).await.id;
    let [closed, other] = [session(&ada, Timestamp::MAX), session(&ada, Timestamp::MAX)];
    for session in [&closed, &other] {
        store.open(session).await.expect("a session opens");
    }
    for _ in 0..2 {
        store.close(&closed.token).await.expect("closes, also what is not there");
    }
    assert_eq!(store.find(&closed.token, NOW).await.expect("answers"), None);
    assert_eq!(store.find(&other.token, NOW).await.expect("answers"), Some(other));
}

async fn expired_sessions_are_purged(accounts: &dyn Accounts, store: &dyn Sessions) {
    let ada = registered(accounts).await.id;
    store.purge(NOW).await.expect("answers");
    let earlier = NOW - Duration::from_hours(1);
    let [gone, last, stays] = [earlier, NOW, NOW + TICK].map(|at| session(&ada, at));
    for session in [&gone, &last, &stays] {
        store.open(session).await.expect("a session opens");
    }
    assert_eq!(store.purge(NOW).await.expect("answers"), 2);
    assert_eq!(store.find(&gone.token, Timestamp::default()).await.expect("answers"), None);
    assert_eq!(store.find(&last.token, Timestamp::default()).await.expect("answers"), None);
    assert_eq!(store.find(&stays.token, NOW).await.expect("answers"), Some(stays));
    assert_eq!(store.purge(NOW).await.expect("answers"), 0);
}

async fn an_unknown_user_gets_no_session(store: &dyn Sessions) {
    let session = session(&UserId::from(Uuid::now_v7()), Timestamp::MAX);
    assert!(store.open(&session).await.is_err(), "its user must exist");
    assert_eq!(store.find(&session.token, NOW).await.expect("answers"), None);
}
