//! The suite of [`Handover`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use doorstep_domain::ports::{Handover, StoreError};
use doorstep_domain::{Notification, NotificationId, Timestamp, Ttl};
use uuid::Uuid;

use crate::clause::clauses;
use crate::inbox::each_once;
use crate::sample::{at_once, full_and_bare, notification, notifications, stranger};
use crate::{Clause, Reopens};

clauses! {
    /// The promises of [`Handover`] that the suite checks.
    WHOLE = "handover whole": "a notification is taken with everything that was left";
    ORDER = "handover order": "notifications are taken in the order in which they were left";
    ONCE = "handover once": "what was taken is not there any more";
    KNOWN = "handover known id": "an id that is there already is not changed and keeps its place";
    AGAIN = "handover again": "what was taken can be left again";
    LIMIT = "handover limit": "the oldest are taken, at most `limit`";
    AT_ONCE = "handover at once": "nodes that take at the same time never take the same, and nothing is lost";
    OF_USER = "handover of a user": "`take_for` takes what is this user's, in order, and nothing else";
    ONE = "handover one": "`take_one` takes the one with this id, once, and nothing else";
    EXPIRED = "handover expired": "`take_expired` takes what has ended by then, from exactly its deadline on, and nothing without a TTL";
    LOOK = "handover look": "a look lists users and places, in order, behind a place, and takes nothing";
    ALL_OR_NONE = "handover all or none": "whoever looks while several are left sees all of them or none";
    DURABLE = "handover durable": "what was left, and what was taken, is so after the store was closed and opened again";
}

/// [`Handover`], in a store where nothing was left: checks every promise of [`CLAUSES`] but the durability, for which see
/// [`durable_handover`].
pub async fn handover(store: Arc<dyn Handover>) {
    assert!(
        store.take(1).await.is_ok_and(|left| left.is_empty()),
        "this suite wants an empty store"
    );
    left_notifications_are_taken_once_in_their_order(&*store).await;
    adding_again_changes_nothing(&*store).await;
    a_taken_notification_may_be_left_again(&*store).await;
    a_limit_takes_the_oldest(&*store).await;
    takers_at_once_never_share(&store).await;
    a_user_s_are_taken_for_them_alone(&*store).await;
    one_is_taken_by_its_id(&*store).await;
    only_expired_notifications_are_taken(&*store).await;
    a_look_takes_nothing(&*store).await;
    all_are_left_or_none(&store).await;
    whatever_takes_shares_nothing(&store).await;
}

/// What [`Handover`] promises to keep, in a store that can be closed and opened again and where nothing was left.
pub async fn durable_handover<R: Reopens<Store: Handover>>(place: &mut R) {
    let left = notifications(&stranger(), 3);
    let store = place.reopen().await;
    leave(&*store, &left, DURABLE).await;
    drop(store);
    let store = place.reopen().await;
    takes(&*store, 1, &left[..1], DURABLE).await;
    drop(store);
    let store = place.reopen().await;
    takes(&*store, 9, &left[1..], DURABLE).await;
}

async fn left_notifications_are_taken_once_in_their_order(store: &dyn Handover) {
    for mut one in full_and_bare(&stranger()) {
        one.ttl = one.ttl.or(Some(Ttl::ZERO));
        leave(store, std::slice::from_ref(&one), WHOLE).await;
        takes(store, 1, std::slice::from_ref(&one), WHOLE).await;
        takes(store, 1, &[], ONCE).await;
    }
    let mut left: Vec<_> = (0..1000).map(|_| notification(&stranger())).collect();
    // The order in which they are left counts, not the order of their ids.
    left.reverse();
    leave(store, &left, ORDER).await;
    let later = notifications(&stranger(), 3);
    leave(store, &later, ORDER).await;
    leave(store, &[], ORDER).await;
    left.extend(later);
    takes(store, 2_000, &left, ORDER).await;
    takes(store, 2_000, &[], ONCE).await;
}

async fn adding_again_changes_nothing(store: &dyn Handover) {
    let [first, second] = [notification(&stranger()), notification(&stranger())];
    leave(store, std::slice::from_ref(&first), KNOWN).await;
    let changed = Notification { user_id: stranger(), ..first.clone() };
    leave(store, &[second.clone(), changed, second.clone()], KNOWN).await;
    takes(store, 9, &[first, second], KNOWN).await;
}

async fn a_taken_notification_may_be_left_again(store: &dyn Handover) {
    let item = notification(&stranger());
    for _ in 0..2 {
        leave(store, std::slice::from_ref(&item), AGAIN).await;
        takes(store, 9, std::slice::from_ref(&item), AGAIN).await;
    }
}

async fn a_limit_takes_the_oldest(store: &dyn Handover) {
    let left = notifications(&stranger(), 5);
    leave(store, &left, LIMIT).await;
    takes(store, 0, &[], LIMIT).await;
    takes(store, 2, &left[..2], LIMIT).await;
    // Later ones come later, even when earlier numbers are free again.
    let more = notifications(&stranger(), 2);
    leave(store, &more, LIMIT).await;
    takes(store, 9, &[&left[2..], &more[..]].concat(), LIMIT).await;
}

async fn takers_at_once_never_share(store: &Arc<dyn Handover>) {
    let left: Vec<_> = (0..2_000).map(|_| notification(&stranger())).collect();
    for some in left.chunks(1_000) {
        leave(&**store, some, AT_ONCE).await;
    }
    let numbers: std::collections::HashMap<_, _> =
        left.iter().enumerate().map(|(number, n)| (n.id, number)).collect();
    let taken = taken_at_once(store, 4, |store, _| async move { store.take(100).await }).await;
    for some in &taken {
        LIMIT.holds(some.len() <= 100, "expected at most 100 at a time, and got more");
        let in_order = some.is_sorted_by_key(|n| numbers.get(&n.id));
        ORDER.holds(in_order, "expected the order in which they were left, in what one takes");
    }
    let mut all = ids(&taken.concat());
    // A taker that finds nothing stops, although another one may still be working; in the end nothing may remain.
    all.extend(ids(&AT_ONCE.done("take", store.take(2_000).await)));
    each_once(AT_ONCE, "taken by four at once", all, &left);
}

async fn a_user_s_are_taken_for_them_alone(store: &dyn Handover) {
    let (ada, bob, nobody) = (stranger(), stranger(), stranger());
    let take_for = async |user, limit, expected: &[Notification]| {
        let came = OF_USER.done("take_for", store.take_for(user, limit).await);
        OF_USER.same_all(format_args!("`take_for` with a limit of {limit}"), &came, expected);
    };
    take_for(&ada, 9, &[]).await;
    let [hers, his] = [notifications(&ada, 5), notifications(&bob, 2)];
    let mixed = [&hers[..2], &his[..1], &hers[2..], &his[1..]].concat();
    leave(store, &mixed, OF_USER).await;
    take_for(&nobody, 9, &[]).await;
    take_for(&ada, 0, &[]).await;
    take_for(&ada, 3, &hers[..3]).await;
    take_for(&ada, 9, &hers[3..]).await;
    take_for(&ada, 9, &[]).await;
    takes(store, 9, &his, OF_USER).await;
}

async fn one_is_taken_by_its_id(store: &dyn Handover) {
    let left = notifications(&stranger(), 3);
    leave(store, &left, ONE).await;
    let unknown = NotificationId::new(Uuid::now_v7());
    for (id, expected) in [(unknown, None), (left[1].id, Some(&left[1])), (left[1].id, None)] {
        let came = ONE.done("take_one", store.take_one(id).await);
        ONE.same_one(format_args!("`take_one` of {id}"), came.as_ref(), expected);
    }
    takes(store, 9, &[left[0].clone(), left[2].clone()], ONE).await;
}

async fn only_expired_notifications_are_taken(store: &dyn Handover) {
    let at =
        |seconds: u64| Timestamp::from_micros(1_700_000_000_000_000) + Duration::from_secs(seconds);
    let ends = |seconds: u32| Notification {
        created_at: at(0),
        ttl: Some(Ttl::from_secs(seconds)),
        ..notification(&stranger())
    };
    let left = [ends(30), ends(10), ends(20), Notification { ttl: None, ..ends(0) }];
    leave(store, &left, EXPIRED).await;
    // A notification expires at exactly its deadline.
    for (seconds, limit, expected) in [
        (9, 9, &left[..0]),
        (10, 9, &left[1..2]),
        (40, 1, &left[..1]),
        (40, 9, &left[2..3]),
        (1_000_000, 9, &left[..0]),
    ] {
        let came = EXPIRED.done("take_expired", store.take_expired(at(seconds), limit).await);
        let what = format_args!("after {seconds} s, with TTLs of 30, 10 and 20 s and without one");
        EXPIRED.same_all(what, &came, expected);
    }
    takes(store, 9, &left[3..], EXPIRED).await;
}

async fn a_look_takes_nothing(store: &dyn Handover) {
    let look = async |after, limit| LOOK.done("look", store.look(after, limit).await);
    LOOK.same("a look at nothing", &look(0, 9).await, &vec![]);
    let left = [notifications(&stranger(), 2), notifications(&stranger(), 1)].concat();
    leave(store, &left, LOOK).await;
    let seen = look(0, 9).await;
    let users: Vec<_> = seen.iter().map(|left| left.user.clone()).collect();
    let expected: Vec<_> = left.iter().map(|n| n.user_id.clone()).collect();
    LOOK.same("the users that a look lists", &users, &expected);
    let places: Vec<_> = seen.iter().map(|left| left.place).collect();
    let grow = places[0] > 0 && places.is_sorted_by(|a, b| a < b);
    LOOK.holds(grow, format_args!("expected places from 1 that grow, and got {places:?}"));
    LOOK.same("a look with a limit of 1", &look(0, 1).await, &seen[..1].to_vec());
    LOOK.same("a look behind the first", &look(places[0], 9).await, &seen[1..].to_vec());
    LOOK.same("a look behind the last", &look(places[2], 9).await, &vec![]);
    takes(store, 9, &left, LOOK).await;
}

async fn all_are_left_or_none(store: &Arc<dyn Handover>) {
    let done = Arc::new(AtomicBool::new(false));
    let left = notifications(&stranger(), 200);
    let leaving = tokio::spawn({
        let (store, left, done) = (Arc::clone(store), left.clone(), done.clone());
        async move {
            let leaves = store.leave(&left).await;
            done.store(true, Relaxed);
            leaves
        }
    });
    let mut seen = 0;
    while seen == 0 && !done.load(Relaxed) {
        seen = ALL_OR_NONE.done("look", store.look(0, 1_000).await).len();
        ALL_OR_NONE.holds(
            seen == 0 || seen == left.len(),
            format_args!("expected 0 or {} while they are left, and got {seen}", left.len()),
        );
        tokio::task::yield_now().await;
    }
    ALL_OR_NONE.done("leave", leaving.await.expect("leaving does not panic"));
    takes(&**store, 1_000, &left, ALL_OR_NONE).await;
}

/// Nodes that take for a user, that take expired ones, and that take everything, all at once.
async fn whatever_takes_shares_nothing(store: &Arc<dyn Handover>) {
    let ada = stranger();
    let mut left = notifications(&ada, 600);
    for n in &mut left {
        n.ttl = Some(Ttl::from_secs(1));
    }
    leave(&**store, &left, AT_ONCE).await;
    let over = left[0].created_at + Duration::from_secs(1_000_000);
    let taken = taken_at_once(store, 6, move |store, taker| {
        let ada = ada.clone();
        async move {
            match taker % 3 {
                0 => store.take_for(&ada, 50).await,
                1 => store.take_expired(over, 50).await,
                _ => store.take(50).await,
            }
        }
    })
    .await;
    let mut all = ids(&taken.concat());
    all.extend(ids(&AT_ONCE.done("take", store.take(1_000).await)));
    each_once(AT_ONCE, "taken by six at once, in three ways", all, &left);
}

/// What this many takers take at the same time, each until it finds nothing.
async fn taken_at_once<F>(
    store: &Arc<dyn Handover>,
    takers: usize,
    take: impl Fn(Arc<dyn Handover>, usize) -> F + Clone + Send + 'static,
) -> Vec<Vec<Notification>>
where
    F: Future<Output = Result<Vec<Notification>, StoreError>> + Send + 'static,
{
    let takers = at_once((0..takers).map(|taker| {
        let (store, take) = (Arc::clone(store), take.clone());
        async move {
            let mut taken = Vec::new();
            loop {
                let some = take(store.clone(), taker).await?;
                if some.is_empty() {
                    return Ok::<_, StoreError>(taken);
                }
                taken.push(some);
            }
        }
    }))
    .await;
    takers.into_iter().flat_map(|taken| AT_ONCE.done("take", taken)).collect()
}

fn ids(all: &[Notification]) -> Vec<NotificationId> {
    all.iter().map(|n| n.id).collect()
}

async fn leave(store: &dyn Handover, all: &[Notification], clause: Clause) {
    clause.done("leave", store.leave(all).await);
}

async fn takes(store: &dyn Handover, limit: usize, expected: &[Notification], clause: Clause) {
    let came = clause.done("take", store.take(limit).await);
    clause.same_all(format_args!("`take` with a limit of {limit}"), &came, expected);
}
