//! Observers of outcomes that are slow: they delay neither delivery nor each other, and miss nothing that was
//! accepted.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{VirtualClock, ada, pass, popup, virtual_clock};
use async_trait::async_trait;
use doorstep_application::delivery::{Delivery, Limits, Refused};
use doorstep_domain::ports::{MockPresence, MockPusher, Outcomes, PushError, Pushed};
use doorstep_domain::{Ended, Notification, NotificationId, Outcome, Ttl};
use tokio::sync::Semaphore;

/// Records what it is told, but not before it has a permit for each call.
struct Observer {
    told: Mutex<Vec<(NotificationId, Outcome)>>,
    permits: Semaphore,
}

impl Observer {
    fn with_permits(permits: usize) -> Arc<Self> {
        Arc::new(Self { told: Mutex::default(), permits: Semaphore::new(permits) })
    }

    fn prompt() -> Arc<Self> {
        Self::with_permits(Semaphore::MAX_PERMITS)
    }

    fn hangs() -> Arc<Self> {
        Self::with_permits(0)
    }

    fn told(&self) -> Vec<(NotificationId, Outcome)> {
        self.told.lock().unwrap().clone()
    }
}

#[async_trait]
impl Outcomes for Observer {
    async fn ended(&self, ended: Vec<Ended>) {
        self.permits.acquire().await.unwrap().forget();
        self.told.lock().unwrap().extend(ended.iter().map(|end| (end.id, end.outcome)));
    }
}

/// A delivery with these observers and limits, whose users are never there.
fn delivery(clock: &Arc<VirtualClock>, observers: [&Arc<Observer>; 2], limits: Limits) -> Delivery {
    let mut presence = MockPresence::new();
    presence.expect_is_online().returning(|_| false);
    presence.expect_is_reading().returning(|_| false);
    let mut pusher = MockPusher::new();
    pusher.expect_push().returning(|_, _, _| Ok::<_, PushError>(Pushed::Nobody));
    let builder = Delivery::builder(Arc::new(presence), Arc::new(pusher), clock.clone());
    let [one, other] = observers;
    builder.limits(limits).outcomes(one.clone()).outcomes(other.clone()).start().unwrap()
}

/// Expires after one second.
fn brief(n: u128, clock: &VirtualClock) -> Notification {
    Notification { ttl: Some(Ttl::from_secs(1)), ..popup(n, clock) }
}

/// Sends these one after the other; each expires before the next is sent.
async fn expire(delivery: &Delivery, ids: std::ops::RangeInclusive<u128>, clock: &VirtualClock) {
    for n in ids {
        drop(delivery.send(brief(n, clock)).await.unwrap());
        pass(Duration::from_secs(2)).await;
    }
}

fn expired(
    ids: std::ops::RangeInclusive<u128>,
    clock: &VirtualClock,
) -> Vec<(NotificationId, Outcome)> {
    ids.map(|n| (popup(n, clock).id, Outcome::Expired)).collect()
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_hangs_delays_no_later_end_and_no_other_observer() {
    let clock = virtual_clock();
    let (hanging, prompt) = (Observer::hangs(), Observer::prompt());
    // In either order: no observer waits for another.
    for observers in [[&hanging, &prompt], [&prompt, &hanging]] {
        let delivery = delivery(&clock, observers, Limits::default());
        expire(&delivery, 1..=3, &clock).await;
        assert_eq!(prompt.told(), expired(1..=3, &clock));
        assert_eq!(hanging.told(), []);
        prompt.told.lock().unwrap().clear();
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_was_slow_is_told_of_every_end_in_order() {
    let clock = virtual_clock();
    let (slow, prompt) = (Observer::hangs(), Observer::prompt());
    let delivery = delivery(&clock, [&slow, &prompt], Limits::default());
    expire(&delivery, 1..=5, &clock).await;
    slow.permits.add_permits(Semaphore::MAX_PERMITS / 2);
    pass(Duration::from_millis(1)).await;
    assert_eq!(slow.told(), expired(1..=5, &clock));
    // It has caught up: it is told at once again.
    expire(&delivery, 6..=6, &clock).await;
    assert_eq!(slow.told(), expired(1..=6, &clock));
}

#[tokio::test(start_paused = true)]
async fn what_an_observer_has_not_been_told_keeps_its_place_in_the_node() {
    let clock = virtual_clock();
    let (slow, prompt) = (Observer::hangs(), Observer::prompt());
    let limits = Limits { max_pending: 3, ..Limits::default() };
    let delivery = delivery(&clock, [&slow, &prompt], limits);
    expire(&delivery, 1..=3, &clock).await;
    let refused = delivery.send(brief(4, &clock)).await;
    assert!(matches!(refused.unwrap_err().why, Refused::NodeFull));
    // Only the prompt one is sure to hear of a refusal, and nothing of what was accepted is lost.
    assert_eq!(prompt.told()[3..], [(popup(4, &clock).id, Outcome::Rejected)]);
    slow.permits.add_permits(Semaphore::MAX_PERMITS / 2);
    pass(Duration::from_millis(1)).await;
    assert_eq!(slow.told()[..3], expired(1..=3, &clock));
    expire(&delivery, 5..=7, &clock).await;
    assert_eq!(prompt.told()[4..], expired(5..=7, &clock));
    assert_eq!(delivery.held_for(&ada()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn refusals_do_not_pile_up_for_an_observer_that_hangs() {
    let clock = virtual_clock();
    let (slow, prompt) = (Observer::hangs(), Observer::prompt());
    let limits = Limits { max_pending: 1, ..Limits::default() };
    let delivery = delivery(&clock, [&slow, &prompt], limits);
    expire(&delivery, 1..=1, &clock).await;
    for n in 2..=5000 {
        assert!(delivery.send(brief(n, &clock)).await.is_err());
        tokio::task::yield_now().await;
    }
    assert_eq!(prompt.told().len(), 5000);
    slow.permits.add_permits(Semaphore::MAX_PERMITS / 2);
    pass(Duration::from_millis(1)).await;
    assert_eq!(slow.told()[..1], expired(1..=1, &clock));
    assert!(slow.told().len() < 2000, "{}", slow.told().len());
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_a_slow_observer_until_its_patience_ends() {
    let clock = virtual_clock();
    let (slow, hanging) = (Observer::hangs(), Observer::hangs());
    let delivery = delivery(&clock, [&slow, &hanging], Limits::default());
    expire(&delivery, 1..=2, &clock).await;
    let stop = tokio::spawn(async move { delivery.stop(Duration::from_secs(10)).await });
    pass(Duration::from_secs(5)).await;
    slow.permits.add_permits(10);
    pass(Duration::from_secs(6)).await;
    assert!(stop.is_finished(), "a hanging observer must not hold up a stop for ever");
    assert_eq!(slow.told(), expired(1..=2, &clock));
}
