//! Shared by the tests of the delivery policy: virtual time, and mocks of the two ports that it needs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use doorstep_application::delivery::{Delivery, Limits, Rule, Rules, Strategy};
use doorstep_domain::ports::{Clock, MockPresence, MockPusher};
use doorstep_domain::{Notification, NotificationId, Payload, Timestamp, UserId};
use tokio::time::Instant;
use uuid::Uuid;

/// A clock on tokio's time, which the tests pause.
pub(crate) struct VirtualClock(Instant);

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000) + self.0.elapsed()
    }
}

pub(crate) fn virtual_clock() -> Arc<VirtualClock> {
    Arc::new(VirtualClock(Instant::now()))
}

pub(crate) fn ada() -> UserId {
    "ada".parse().unwrap()
}

/// The n-th notification for Ada, created now.
pub(crate) fn popup(n: u128, clock: &VirtualClock) -> Notification {
    Notification {
        id: NotificationId::new(Uuid::from_u128(n)),
        user_id: ada(),
        kind: "welcome".parse().unwrap(),
        topic: None,
        payload: Payload::new("hello").unwrap(),
        created_at: clock.now(),
        ttl: None,
        trace: None,
    }
}

/// A user whose presence the test sets.
#[derive(Clone, Default)]
pub(crate) struct Door(Arc<AtomicBool>);

impl Door {
    pub(crate) fn set(&self, there: bool) {
        self.0.store(there, SeqCst);
    }

    pub(crate) fn presence(&self) -> MockPresence {
        let there = self.0.clone();
        let mut presence = MockPresence::new();
        presence.expect_is_online().returning(move |_| there.load(SeqCst));
        let there = self.0.clone();
        presence.expect_is_reading().returning(move |_| there.load(SeqCst));
        presence
    }
}

pub(crate) fn delivery(
    presence: MockPresence,
    pusher: MockPusher,
    clock: &Arc<VirtualClock>,
    rule: Rule,
) -> Arc<Delivery> {
    Arc::new(
        Delivery::builder(Arc::new(presence), Arc::new(pusher), clock.clone())
            .rules(Rules { default: rule, ..Rules::default() })
            .limits(Limits { push_timeout: Duration::from_secs(2), ..Limits::default() })
            .start()
            .unwrap(),
    )
}

/// The default rule with this strategy.
pub(crate) fn deferred(strategy: Strategy) -> Rule {
    Rule { policy: doorstep_application::delivery::Policy::Deferred(strategy), ..Rule::default() }
}

/// Lets virtual time pass, and lets everything happen that is due in it.
pub(crate) async fn pass(duration: Duration) {
    tokio::time::sleep(duration).await;
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}
