use std::collections::BTreeSet;
use std::sync::Arc;

use doorstep_domain::Notification;
use doorstep_domain::ports::Handover;

use super::sample::{at_once, full_and_bare, notification, notifications, stranger};

/// [`Handover`], in a store where nothing was left.
pub async fn handover(store: Arc<dyn Handover>) {
    assert_eq!(take(&*store, 1).await, [], "this suite wants a store where nothing was left");
    what_was_left_is_taken_in_its_order_and_gone(&*store).await;
    what_is_there_stays_as_it_is(&*store).await;
    what_was_taken_may_be_left_again(&*store).await;
    a_limit_takes_the_oldest(&*store).await;
    takers_at_once_never_share(&store).await;
}

async fn what_was_left_is_taken_in_its_order_and_gone(store: &dyn Handover) {
    let mut left = full_and_bare(&stranger()).to_vec();
    left[1].ttl = Some(doorstep_domain::Ttl::ZERO);
    left.extend((0..998).map(|_| notification(&stranger())));
    // Not the order of the ids: that in which they are left counts.
    left.reverse();
    store.leave(&left).await.expect("leaves a thousand");
    let later = notifications(&stranger(), 3);
    store.leave(&later).await.expect("leaves some more");
    store.leave(&[]).await.expect("nothing to leave is no error");
    left.extend(later);
    assert_eq!(take(store, 2_000).await, left);
    assert_eq!(take(store, 2_000).await, []);
}

async fn what_is_there_stays_as_it_is(store: &dyn Handover) {
    let [first, second] = [notification(&stranger()), notification(&stranger())];
    store.leave(std::slice::from_ref(&first)).await.expect("leaves");
    let changed = Notification { user_id: stranger(), ..first.clone() };
    store.leave(&[second.clone(), changed, second.clone()]).await.expect("leaves what is new");
    assert_eq!(take(store, 9).await, [first, second]);
}

async fn what_was_taken_may_be_left_again(store: &dyn Handover) {
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
    // What is left later comes later, also when the numbers before it are free again.
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
    // One who finds the rest in another's hands is done; nothing may be left all the same.
    let mut all: Vec<_> = taken.concat().into_iter().map(|n| n.id).collect();
    all.extend(take(&**store, 2_000).await.into_iter().map(|n| n.id));
    assert_eq!(all.len(), left.len(), "each once");
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), left.iter().map(|n| n.id).collect());
}

async fn take(store: &dyn Handover, limit: usize) -> Vec<Notification> {
    store.take(limit).await.expect("takes")
}
