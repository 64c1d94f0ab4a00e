use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use doorstep_domain::ports::Handover;
use doorstep_domain::{Notification, Timestamp, Ttl};

use super::sample::{at_once, full_and_bare, notification, notifications, stranger};

/// [`Handover`], in a store where nothing was left.
pub async fn handover(store: Arc<dyn Handover>) {
    assert_eq!(take(&*store, 1).await, [], "this suite wants a store where nothing was left");
    left_notifications_are_taken_once_in_their_order(&*store).await;
    adding_again_changes_nothing(&*store).await;
    a_taken_notification_may_be_left_again(&*store).await;
    a_limit_takes_the_oldest(&*store).await;
    takers_at_once_never_share(&store).await;
    a_user_s_are_taken_for_them_alone(&*store).await;
    only_expired_notifications_are_taken(&*store).await;
    a_look_takes_nothing(&*store).await;
    whatever_takes_shares_nothing(&store).await;
}

async fn left_notifications_are_taken_once_in_their_order(store: &dyn Handover) {
    let mut left = full_and_bare(&stranger()).to_vec();
    left[1].ttl = Some(Ttl::ZERO);
    left.extend((0..998).map(|_| notification(&stranger())));
    // The order in which they are left counts, not the order of their ids.
    left.reverse();
    store.leave(&left).await.expect("leaves a thousand");
    let later = notifications(&stranger(), 3);
    store.leave(&later).await.expect("leaves some more");
    store.leave(&[]).await.expect("nothing to leave is no error");
    left.extend(later);
    assert_eq!(take(store, 2_000).await, left);
    assert_eq!(take(store, 2_000).await, []);
}

async fn adding_again_changes_nothing(store: &dyn Handover) {
    let [first, second] = [notification(&stranger()), notification(&stranger())];
    store.leave(std::slice::from_ref(&first)).await.expect("leaves");
    let changed = Notification { user_id: stranger(), ..first.clone() };
    store.leave(&[second.clone(), changed, second.clone()]).await.expect("leaves what is new");
    assert_eq!(take(store, 9).await, [first, second]);
}

async fn a_taken_notification_may_be_left_again(store: &dyn Handover) {
    let item = notification(&stranger());
    for _ in 0..2 {
        store.leave(std::slice::from_ref(&item)).await.expect("leaves");
        assert_eq!(take(store, 9).await, std::slice::from_ref(&item));
    }
}

async fn a_limit_takes_the_oldest(store: &dyn Handover) {
    let left = notifications(&stranger(), 5);
    store.leave(&left).await.expect("leaves");
    assert_eq!(take(store, 0).await, []);
    assert_eq!(take(store, 2).await, left[..2]);
    // Later ones come later, even when earlier numbers are free again.
    let more = notifications(&stranger(), 2);
    store.leave(&more).await.expect("leaves");
    assert_eq!(take(store, 9).await, [&left[2..], &more[..]].concat());
}

async fn takers_at_once_never_share(store: &Arc<dyn Handover>) {
    let left: Vec<_> = (0..2_000).map(|_| notification(&stranger())).collect();
    for some in left.chunks(1_000) {
        store.leave(some).await.expect("leaves");
    }
    let numbers: std::collections::HashMap<_, _> =
        left.iter().enumerate().map(|(number, n)| (n.id, number)).collect();
    let takers = at_once((0..4).map(|_| {
        let store = Arc::clone(store);
        async move {
            let mut taken = Vec::new();
            loop {
                let some = take(&*store, 100).await;
                assert!(some.len() <= 100);
                if some.is_empty() {
                    return taken;
                }
                taken.push(some);
            }
        }
    }))
    .await;

    let taken: Vec<_> = takers.concat();
    for some in &taken {
        assert!(some.is_sorted_by_key(|n| numbers[&n.id]), "each in the order left");
    }
    // A taker that finds nothing stops, although another one may still be working; in the end nothing may remain.
    let mut all: Vec<_> = taken.concat().into_iter().map(|n| n.id).collect();
    all.extend(take(&**store, 2_000).await.into_iter().map(|n| n.id));
    assert_eq!(all.len(), left.len(), "each once");
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), left.iter().map(|n| n.id).collect());
}

async fn a_user_s_are_taken_for_them_alone(store: &dyn Handover) {
    let (ada, bob) = (stranger(), stranger());
    assert_eq!(store.take_for(&ada, 9).await.expect("looks"), []);
    let [hers, his] = [notifications(&ada, 5), notifications(&bob, 2)];
    let mixed = [&hers[..2], &his[..1], &hers[2..], &his[1..]].concat();
    store.leave(&mixed).await.expect("leaves");
    assert_eq!(store.take_for(&stranger(), 9).await.expect("takes"), []);
    assert_eq!(store.take_for(&ada, 0).await.expect("takes"), []);
    assert_eq!(store.take_for(&ada, 3).await.expect("takes"), hers[..3]);
    assert_eq!(store.take_for(&ada, 9).await.expect("takes"), hers[3..]);
    assert_eq!(store.take_for(&ada, 9).await.expect("takes"), []);
    assert_eq!(take(store, 9).await, his);
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
    store.leave(&left).await.expect("leaves");
    let nothing: [Notification; 0] = [];
    assert_eq!(store.take_expired(at(9), 9).await.expect("takes"), nothing);
    // A notification expires at exactly its deadline.
    assert_eq!(store.take_expired(at(10), 9).await.expect("takes"), left[1..2]);
    assert_eq!(store.take_expired(at(40), 1).await.expect("takes"), left[..1]);
    assert_eq!(store.take_expired(at(40), 9).await.expect("takes"), left[2..3]);
    assert_eq!(store.take_expired(at(1_000_000), 9).await.expect("takes"), nothing);
    assert_eq!(take(store, 9).await, left[3..]);
}

async fn a_look_takes_nothing(store: &dyn Handover) {
    assert_eq!(store.look(0, 9).await.expect("looks"), []);
    let left = [notifications(&stranger(), 2), notifications(&stranger(), 1)].concat();
    store.leave(&left).await.expect("leaves");
    let seen = store.look(0, 9).await.expect("looks");
    let users: Vec<_> = seen.iter().map(|left| &left.user).collect();
    assert_eq!(users, left.iter().map(|n| &n.user_id).collect::<Vec<_>>());
    assert!(seen[0].place > 0 && seen.is_sorted_by(|a, b| a.place < b.place), "{seen:?}");
    assert_eq!(store.look(0, 1).await.expect("looks"), seen[..1]);
    assert_eq!(store.look(seen[0].place, 9).await.expect("looks"), seen[1..]);
    assert_eq!(store.look(seen[2].place, 9).await.expect("looks"), []);
    assert_eq!(take(store, 9).await, left);
}

/// Nodes that take for a user, that take expired ones, and that take everything, all at once.
async fn whatever_takes_shares_nothing(store: &Arc<dyn Handover>) {
    let ada = stranger();
    let mut left = notifications(&ada, 600);
    for n in &mut left {
        n.ttl = Some(Ttl::from_secs(1));
    }
    store.leave(&left).await.expect("leaves");
    let over = left[0].created_at + Duration::from_secs(1_000_000);
    let takers = at_once((0..6).map(|taker| {
        let (store, ada) = (Arc::clone(store), ada.clone());
        async move {
            let mut taken = Vec::new();
            loop {
                let some = match taker % 3 {
                    0 => store.take_for(&ada, 50).await,
                    1 => store.take_expired(over, 50).await,
                    _ => store.take(50).await,
                };
                let some = some.expect("takes");
                if some.is_empty() {
                    return taken;
                }
                taken.extend(some);
            }
        }
    }))
    .await;
    let mut all: Vec<_> = takers.concat().into_iter().map(|n| n.id).collect();
    all.extend(take(&**store, 1_000).await.into_iter().map(|n| n.id));
    assert_eq!(all.len(), left.len(), "each once");
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), left.iter().map(|n| n.id).collect());
}

async fn take(store: &dyn Handover, limit: usize) -> Vec<Notification> {
    store.take(limit).await.expect("takes")
}
