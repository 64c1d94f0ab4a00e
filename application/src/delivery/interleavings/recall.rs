//! Recall under the model checker, racing with everything that may end or push a notification.

use std::sync::{Arc, OnceLock};

use doorstep_domain::ports::{EnteredBy, InboxItem, MockInbox, Removed};

use super::*;
use crate::delivery::poll::Poll;
use crate::delivery::{Delivery, Recall};

/// Runs a race inside a runtime: a recall that finds nothing sets a timer, which never has to fire.
fn check_recall(race: fn()) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _inside = runtime.enter();
    check(race);
}

/// A delivery around this `wake`.
fn delivery(wake: &Arc<Wake>) -> Delivery {
    Delivery {
        poll: Poll::new(wake.cx.clone()),
        wake: wake.clone(),
        cx: wake.cx.clone(),
        handover: None,
        claimer: None,
        cluster: None,
        kept_elsewhere: OnceLock::new(),
    }
}

/// Runs a recall of the first popup against the other thread. Returns what it said.
fn recall_against(
    delivery: &Arc<Delivery>,
    other: impl FnOnce() + Send + 'static,
) -> Option<Recall> {
    let (said, recalling) = (Arc::new(Mutex::new(None)), delivery.clone());
    let saying = said.clone();
    let recall = move || {
        let recall = shuttle::future::block_on(recalling.recall(popup(1).id)).unwrap();
        *saying.lock() = recall;
    };
    race(&delivery.wake, recall, other);
    let said = *said.lock();
    said
}

/// The first popup has ended once, as the recall says, or else as `otherwise`.
fn agrees(world: &World, said: Option<Recall>, otherwise: Outcome) {
    let ended = world.ended();
    let mut outcomes =
        ended.iter().filter(|(id, _)| *id == popup(1).id).map(|(_, outcome)| *outcome);
    let outcome = outcomes.next();
    assert_eq!(outcomes.next(), None, "it ended twice: {ended:?}");
    // What has ended is not here any more; the records have its outcome.
    assert_eq!(outcome, Some(said.map_or(otherwise, |_| Outcome::Recalled)), "{ended:?}, {said:?}");
    let mut connections = world.door.lock();
    let handed = connections.connections.iter_mut().flatten().any(|c| c.contains(&popup(1).id));
    let never = said.is_some_and(|recall| !recall.pushed);
    assert!(!(never && handed), "it was handed, and its sender was told that it never was");
}

#[test]
fn recall_against_arrival() {
    check_recall(|| {
        let (world, wake) = start(false);
        let delivery = Arc::new(delivery(&wake));
        accept(&wake, 1);
        accept(&wake, 2);
        let (w, d) = (world.clone(), wake.clone());
        let said = recall_against(&delivery, move || {
            arrive(&w, &d);
        });
        agrees(&world, said, Outcome::Delivered);
        // What is behind it is not stranded.
        assert!(world.ended().contains(&(popup(2).id, Outcome::Delivered)));
        assert_eq!(wake.held(), Held::default());
    });
}

#[test]
fn recall_against_acknowledgement() {
    check_recall(|| {
        let (world, wake) = start(true);
        let delivery = Arc::new(delivery(&wake));
        arrive(&world, &wake);
        accept(&wake, 1);
        settle(&wake);
        let acking = wake.clone();
        let said = recall_against(&delivery, move || {
            acking.acknowledged(&ada(), popup(1).id);
        });
        agrees(&world, said, Outcome::Delivered);
        assert_eq!(said.map(|recall| recall.pushed), said.map(|_| true));
        assert_eq!(wake.held(), Held::default());
    });
}

#[test]
fn recall_against_expiry() {
    check_recall(|| {
        let (world, wake) = start(false);
        let delivery = Arc::new(delivery(&wake));
        accept(&wake, 1);
        let (w, d) = (world.clone(), wake.clone());
        let said = recall_against(&delivery, move || {
            w.now.store(10_000, SeqCst);
            shuttle::future::block_on(d.end_what_is_due());
        });
        agrees(&world, said, Outcome::Expired);
        assert_eq!(said.map(|recall| recall.pushed), said.map(|_| false));
        assert_eq!(wake.held(), Held::default());
    });
}

#[test]
fn recall_of_all_against_accept_and_arrival() {
    check_recall(|| {
        let (world, wake) = start(false);
        let delivery = Arc::new(delivery(&wake));
        accept(&wake, 1);
        let (w, d) = (world.clone(), wake.clone());
        let (count, counting) = (Arc::new(Mutex::new(0)), delivery.clone());
        let said = count.clone();
        race(
            &wake,
            move || {
                let user = ada();
                let all = counting.recall_all(&user, None);
                *said.lock() = shuttle::future::block_on(all).unwrap();
            },
            move || {
                arrive(&w, &d);
                accept(&d, 2);
            },
        );
        let ended = world.ended();
        let ids: BTreeSet<_> = ended.iter().map(|(id, _)| *id).collect();
        assert_eq!((ended.len(), ids.len()), (2, 2), "each once: {ended:?}");
        let recalled = ended.iter().filter(|(_, outcome)| *outcome == Outcome::Recalled).count();
        assert_eq!(recalled, *count.lock(), "{ended:?}");
        assert_eq!(wake.held(), Held::default());
    });
}

#[test]
fn recall_of_an_item_against_a_page_of_the_inbox() {
    check_recall(|| {
        let items = Arc::new(Mutex::new(vec![popup(1)]));
        let item = |notification| InboxItem { notification, by: EnteredBy::Policy, read_at: None };
        let (mut inbox, there) = (MockInbox::new(), items.clone());
        inbox
            .expect_undelivered()
            .returning(move |_, _| Ok(there.lock().iter().cloned().map(item).collect()));
        inbox.expect_remove().returning(move |_| {
            let removed = items.lock().pop().map(item);
            Ok(removed.map(|item| Removed { item, delivered: false }))
        });
        let (world, wake) = start_with(true, Some(Arc::new(inbox)));
        let delivery = Arc::new(delivery(&wake));
        let (w, d) = (world.clone(), wake.clone());
        let said = recall_against(&delivery, move || {
            arrive(&w, &d);
        });
        assert_eq!(said.map(|recall| recall.outcome), Some(Outcome::Recalled));
        assert_eq!(world.ended(), [(popup(1).id, Outcome::Recalled)]);
        // Whatever was pushed was taken back: nothing waits to be acknowledged or pushed again.
        assert_eq!(wake.held(), Held::default());
    });
}
