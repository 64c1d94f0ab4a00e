//! The ninth promise: waiting users cost nothing.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use doorstep_application::delivery::{Policy, Rule, Rules, Strategy};
use doorstep_domain::{Notification, NotificationId, Payload, Ttl, UserId};
use uuid::Uuid;

/// How often the only thread of this runtime woke up during half an hour in which 100 notifications waited.
async fn wake_ups(strategy: Strategy) -> u64 {
    let rule = Rule {
        policy: Policy::Deferred(strategy),
        ttl: Ttl::from_secs(60 * 60),
        ..Rule::default()
    };
    let delivery = doorstep_application::delivery::Delivery::builder(
        Arc::new(NobodyIsThere),
        Arc::new(NobodyIsThere),
        Arc::new(PausedClock(tokio::time::Instant::now())),
    )
    .rules(Rules { default: rule, ..Rules::default() })
    .start()
    .unwrap();
    for _ in 0..100 {
        let notification = Notification {
            id: NotificationId::new(Uuid::now_v7()),
            user_id: UserId::from(Uuid::now_v7()),
            kind: "test".parse().unwrap(),
            topic: None,
            payload: Payload::new("x").unwrap(),
            created_at: doorstep_domain::Timestamp::default(),
            ttl: None,
            trace: None,
        };
        drop(delivery.send(notification).await.unwrap());
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let metrics = tokio::runtime::Handle::current().metrics();
    let before = (metrics.worker_park_count(0), delivery.presence_checks());
    tokio::time::sleep(Duration::from_mins(30)).await;
    let after = (metrics.worker_park_count(0), delivery.presence_checks());
    assert_eq!(delivery.held().waiting, 100);
    (after.0 - before.0) + (after.1 - before.1)
}

struct NobodyIsThere;

#[async_trait]
impl doorstep_domain::ports::Presence for NobodyIsThere {
    async fn is_online(&self, _: &UserId) -> bool {
        false
    }
}

#[async_trait]
impl doorstep_domain::ports::Pusher for NobodyIsThere {
    async fn push(
        &self,
        _: &Notification,
        _: doorstep_domain::ports::Attempt,
        _: doorstep_domain::Timestamp,
    ) -> Result<doorstep_domain::ports::Pushed, doorstep_domain::ports::PushError> {
        Ok(doorstep_domain::ports::Pushed::Nobody)
    }
}

struct PausedClock(tokio::time::Instant);

impl doorstep_domain::ports::Clock for PausedClock {
    fn now(&self) -> doorstep_domain::Timestamp {
        doorstep_domain::Timestamp::default() + self.0.elapsed()
    }
}

#[tokio::test(start_paused = true)]
async fn promise_9_who_waits_costs_nothing_under_wake() {
    let (wake, poll) = (wake_ups(Strategy::Wake).await, wake_ups(Strategy::Poll).await);
    // During such a long sleep the timer's wheels wake the thread a few times.
    assert!(wake <= 20, "the node woke up {wake} times in half an hour");
    assert!(poll > 100 * 30 * 60, "the counter does not work: poll woke up {poll} times");
}
