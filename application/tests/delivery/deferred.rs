//! The delivery policy alone, against mocks of `Presence` and `Pusher`, in virtual time.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::support::{Door, VirtualClock, ada, deferred, delivery, pass, popup, virtual_clock};
use doorstep_application::delivery::{
    Acceptance, Delivery, Policy, Refused, Rule, Rules, Strategy,
};
use doorstep_domain::ports::{MockPresence, MockPusher, PushError, Pushed};
use doorstep_domain::{Notification, Outcome, Ttl};
use mockall::Sequence;

const BOTH: [Strategy; 2] = [Strategy::Wake, Strategy::Poll];

fn takes(times: usize) -> MockPusher {
    let mut pusher = MockPusher::new();
    pusher.expect_push().times(times).returning(|_, _, _| Ok(Pushed::Written));
    pusher
}

/// Sends one notification, lets the user arrive after `away`, and returns the outcome and the time it took.
async fn arrives_after(strategy: Strategy, away: Duration) -> (Option<Outcome>, Duration) {
    let clock = virtual_clock();
    let door = Door::default();
    let delivery = delivery(door.presence(), takes(1), &clock, deferred(strategy));
    let start = tokio::time::Instant::now();
    let receipt = delivery.send(popup(1, &clock)).await.unwrap();
    assert_eq!(receipt.state(), Acceptance::Waiting);
    tokio::spawn({
        let delivery = delivery.clone();
        async move {
            tokio::time::sleep(away).await;
            door.set(true);
            delivery.arrived(&ada());
        }
    });
    let outcome = receipt.outcome().await;
    assert_eq!(delivery.held().waiting, 0);
    (outcome, start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_user_who_is_there_gets_it_at_once() {
    for rule in BOTH.map(deferred).into_iter().chain([immediate()]) {
        let clock = virtual_clock();
        let door = Door::default();
        door.set(true);
        let delivery = delivery(door.presence(), takes(1), &clock, rule);
        let receipt = delivery.send(popup(1, &clock)).await.unwrap();
        assert_eq!(receipt.state(), Acceptance::Ended(Outcome::Delivered));
        assert_eq!(delivery.ended(Outcome::Delivered), 1);
    }
}

fn immediate() -> Rule {
    Rule { policy: Policy::Immediate, ..Rule::default() }
}

#[tokio::test(start_paused = true)]
async fn immediate_loses_a_notification_for_an_absent_user() {
    let clock = virtual_clock();
    let door = Door::default();
    let delivery = delivery(door.presence(), takes(0), &clock, immediate());
    let receipt = delivery.send(popup(1, &clock)).await.unwrap();
    door.set(true);
    delivery.arrived(&ada());
    pass(Duration::from_mins(2)).await;
    assert_eq!(receipt.outcome().await, Some(Outcome::Expired));
}

#[tokio::test(start_paused = true)]
async fn a_user_who_arrives_after_three_seconds_gets_it() {
    let three = Duration::from_secs(3);
    let (outcome, took) = arrives_after(Strategy::Wake, three).await;
    assert_eq!((outcome, took), (Some(Outcome::Delivered), three));
    let (outcome, took) = arrives_after(Strategy::Poll, three + Duration::from_millis(1)).await;
    assert_eq!((outcome, took), (Some(Outcome::Delivered), Duration::from_millis(3500)));
}

#[tokio::test(start_paused = true)]
async fn a_user_who_arrives_just_before_the_ttl_ends_gets_it() {
    let last = Duration::from_millis(59_999);
    let (outcome, took) = arrives_after(Strategy::Wake, last).await;
    assert_eq!((outcome, took), (Some(Outcome::Delivered), last));
    // The last check of `poll` is at 59.5 s.
    let (outcome, _) = arrives_after(Strategy::Poll, Duration::from_millis(59_400)).await;
    assert_eq!(outcome, Some(Outcome::Delivered));
}

#[tokio::test(start_paused = true)]
async fn a_user_who_never_arrives_never_gets_it_and_it_is_counted() {
    for strategy in BOTH {
        let clock = virtual_clock();
        let door = Door::default();
        let delivery = delivery(door.presence(), takes(0), &clock, deferred(strategy));
        let receipt = delivery.send(popup(1, &clock)).await.unwrap();
        pass(Duration::from_millis(59_900)).await;
        assert_eq!((delivery.held().waiting, delivery.ended(Outcome::Expired)), (1, 0));
        assert_eq!(receipt.outcome().await, Some(Outcome::Expired));
        assert_eq!((delivery.held().waiting, delivery.ended(Outcome::Expired)), (0, 1));
        // Too late now.
        door.set(true);
        delivery.arrived(&ada());
        pass(Duration::from_secs(1)).await;
    }
}

/// The central race: the user arrives after presence returned 'absent' and before the notification waits.
#[tokio::test(start_paused = true)]
async fn a_user_who_arrives_between_the_check_and_the_wait_gets_it() {
    for strategy in BOTH {
        let clock = virtual_clock();
        let arrives: Arc<OnceLock<Arc<Delivery>>> = Arc::default();
        let mut presence = MockPresence::new();
        let at_the_check = arrives.clone();
        let checks = AtomicUsize::new(0);
        presence.expect_is_online().returning(move |user| {
            if checks.fetch_add(1, SeqCst) > 0 {
                return true;
            }
            if let Some(delivery) = at_the_check.get() {
                delivery.arrived(user);
            }
            false
        });
        let delivery = delivery(presence, takes(1), &clock, deferred(strategy));
        assert!(arrives.set(delivery.clone()).is_ok());
        let receipt = delivery.send(popup(1, &clock)).await.unwrap();
        assert_eq!(receipt.outcome().await, Some(Outcome::Delivered));
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_who_leaves_during_the_push_gets_it_on_return() {
    for strategy in BOTH {
        let clock = virtual_clock();
        let door = Door::default();
        door.set(true);
        let mut pusher = MockPusher::new();
        let mut order = Sequence::new();
        let leaves = door.clone();
        pusher.expect_push().once().in_sequence(&mut order).returning(move |_, _, _| {
            leaves.set(false);
            Ok(Pushed::Nobody)
        });
        pusher
            .expect_push()
            .once()
            .in_sequence(&mut order)
            .returning(|_, _, _| Ok(Pushed::Written));
        let delivery = delivery(door.presence(), pusher, &clock, deferred(strategy));
        let receipt = delivery.send(popup(1, &clock)).await.unwrap();
        assert_eq!(receipt.state(), Acceptance::Waiting);
        pass(Duration::from_secs(5)).await;
        door.set(true);
        delivery.arrived(&ada());
        assert_eq!(receipt.outcome().await, Some(Outcome::Delivered));
    }
}

/// A new connection begins during a push to the old one, which finds nobody.
#[tokio::test(start_paused = true)]
async fn a_user_who_returns_during_the_push_gets_it() {
    let clock = virtual_clock();
    let door = Door::default();
    door.set(true);
    let returns: Arc<OnceLock<Arc<Delivery>>> = Arc::default();
    let mut pusher = MockPusher::new();
    let mut order = Sequence::new();
    let during_the_push = returns.clone();
    pusher.expect_push().once().in_sequence(&mut order).returning(move |_, _, _| {
        during_the_push.get().unwrap().arrived(&ada());
        Ok(Pushed::Nobody)
    });
    pusher.expect_push().once().in_sequence(&mut order).returning(|_, _, _| Ok(Pushed::Written));
    let delivery = delivery(door.presence(), pusher, &clock, deferred(Strategy::Wake));
    assert!(returns.set(delivery.clone()).is_ok());
    let receipt = delivery.send(popup(1, &clock)).await.unwrap();
    assert_eq!(receipt.state(), Acceptance::Ended(Outcome::Delivered));
}

#[tokio::test(start_paused = true)]
async fn a_push_that_fails_or_panics_is_tried_again() {
    for panics in [false, true] {
        let clock = virtual_clock();
        let door = Door::default();
        door.set(true);
        let mut pusher = MockPusher::new();
        let mut order = Sequence::new();
        pusher.expect_push().once().in_sequence(&mut order).returning(move |_, _, _| {
            assert!(!panics, "the pusher panics, as the test wants");
            Err(PushError("broken pipe".into()))
        });
        pusher
            .expect_push()
            .once()
            .in_sequence(&mut order)
            .returning(|_, _, _| Ok(Pushed::Written));
        let delivery = delivery(door.presence(), pusher, &clock, deferred(Strategy::Wake));
        let receipt = delivery.send(popup(1, &clock)).await.unwrap();
        assert_eq!(receipt.state(), Acceptance::Waiting);
        assert_eq!(receipt.outcome().await, Some(Outcome::Delivered));
    }
}

#[tokio::test(start_paused = true)]
async fn a_kind_may_be_bounded_below_the_node() {
    for strategy in [Strategy::Wake, Strategy::Poll] {
        let clock = virtual_clock();
        let door = Door::default();
        let rare = Rule { max_pending: 2, ..deferred(strategy) };
        let rules =
            Rules { default: deferred(strategy), kinds: [("rare".parse().unwrap(), rare)].into() };
        let delivery =
            Delivery::builder(Arc::new(door.presence()), Arc::new(takes(4)), clock.clone())
                .rules(rules)
                .start()
                .unwrap();
        let rare = |n| Notification { kind: "rare".parse().unwrap(), ..popup(n, &clock) };
        let now_or_never = |n| Notification { ttl: Some(Ttl::ZERO), ..rare(n) };
        drop(delivery.send(rare(1)).await.unwrap());
        let short = Notification { ttl: Some(Ttl::from_secs(1)), ..rare(2) };
        drop(delivery.send(short).await.unwrap());
        for one_more in [rare(3), now_or_never(4)] {
            assert!(matches!(delivery.send(one_more).await.unwrap_err().why, Refused::NodeFull));
        }
        assert_eq!(delivery.ended(Outcome::Rejected), 2);
        drop(delivery.send(popup(5, &clock)).await.unwrap());
        // An expired notification makes room, and so does a delivered one.
        pass(Duration::from_secs(2)).await;
        assert_eq!(delivery.ended(Outcome::Expired), 1);
        drop(delivery.send(rare(6)).await.unwrap());
        assert!(delivery.send(rare(7)).await.is_err());
        door.set(true);
        delivery.arrived(&ada());
        pass(Duration::from_secs(1)).await;
        assert_eq!(delivery.ended(Outcome::Delivered), 3);
        drop(delivery.send(rare(8)).await.unwrap());
        assert_eq!(delivery.ended(Outcome::Delivered), 4);
    }
}

#[tokio::test(start_paused = true)]
async fn no_mailbox_holds_more_than_the_maximum() {
    let clock = virtual_clock();
    let rule = Rule { max_per_user: usize::MAX, ..deferred(Strategy::Wake) };
    let delivery = delivery(Door::default().presence(), takes(0), &clock, rule);
    let most = Rule::MOST_PER_USER;
    for n in 0..most + 10 {
        drop(delivery.send(popup(n as u128, &clock)).await.unwrap());
    }
    assert_eq!(delivery.held().waiting, most);
    assert_eq!(delivery.ended(Outcome::Dropped), 10);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_receipt_cancels_nothing() {
    let clock = virtual_clock();
    let door = Door::default();
    let delivery = delivery(door.presence(), takes(1), &clock, deferred(Strategy::Wake));
    drop(delivery.send(popup(1, &clock)).await.unwrap());
    door.set(true);
    delivery.arrived(&ada());
    pass(Duration::from_secs(1)).await;
    assert_eq!(delivery.ended(Outcome::Delivered), 1);
}

#[tokio::test(start_paused = true)]
async fn wake_checks_presence_once_and_poll_repeatedly() {
    let clock = virtual_clock();
    let checks = |strategy| {
        let clock: Arc<VirtualClock> = clock.clone();
        async move {
            let delivery =
                delivery(Door::default().presence(), takes(0), &clock, deferred(strategy));
            drop(delivery.send(popup(1, &clock)).await.unwrap());
            pass(Duration::from_secs(70)).await;
            delivery.presence_checks()
        }
    };
    assert_eq!(checks(Strategy::Wake).await, 1);
    assert_eq!(checks(Strategy::Poll).await, 120);
}
