//! A refusal gives the notification back, as it came.

use std::sync::Arc;
use std::time::Duration;

use doorstep_application::delivery::{
    Builder, Delivery, Limits, Overflow, Policy, Refused, Rule, Rules, Strategy,
};
use doorstep_domain::ports::{Clock, MockInbox, MockPusher, StoreError};
use doorstep_domain::{Notification, Timestamp};

use crate::support::{Door, VirtualClock, ada, popup, virtual_clock};

const WAYS: [Policy; 3] =
    [Policy::Immediate, Policy::Deferred(Strategy::Wake), Policy::Deferred(Strategy::Poll)];

/// The time of day is an hour ahead of the timeline, so that a time that was moved is noticed.
struct Ahead(Arc<VirtualClock>);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn wall_of(&self, moment: Timestamp) -> Timestamp {
        moment + Duration::from_hours(1)
    }

    fn moment_of(&self, wall: Timestamp) -> Timestamp {
        wall - Duration::from_hours(1)
    }
}

fn builder(clock: &Arc<VirtualClock>, rule: Rule) -> Builder {
    let presence = Arc::new(Door::default().presence());
    Delivery::builder(presence, Arc::new(MockPusher::new()), Arc::new(Ahead(clock.clone())))
        .rules(Rules { default: rule, ..Rules::default() })
}

/// The n-th, with everything that a notification can have but a TTL, which a rule would fill in.
fn full(n: u128, clock: &VirtualClock) -> Notification {
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    Notification {
        topic: Some("a.topic".parse().unwrap()),
        trace: Some(trace.parse().unwrap()),
        created_at: clock.now() + Duration::from_hours(1),
        ..popup(n, clock)
    }
}

async fn refuses(delivery: &Delivery, policy: Policy, n: Notification) -> Refused {
    let refused = delivery.send_by(policy, n.clone()).await.unwrap_err();
    assert_eq!(*refused.notification, n, "{policy:?}, {}", refused.why);
    let shown = format!("{refused:?}");
    assert!(shown.contains(&n.id.to_string()) && !shown.contains("hello"), "{shown}");
    refused.why
}

#[tokio::test(start_paused = true)]
async fn by_a_node_that_is_full_or_stopping() {
    let clock = virtual_clock();
    let limits = Limits { max_pending: 0, ..Limits::default() };
    let delivery = builder(&clock, Rule::default()).limits(limits).start().unwrap();
    for policy in WAYS {
        let why = refuses(&delivery, policy, full(1, &clock)).await;
        assert!(matches!(why, Refused::NodeFull), "{why}");
    }
    delivery.stop(Duration::from_secs(1)).await;
    for policy in WAYS {
        let why = refuses(&delivery, policy, full(1, &clock)).await;
        assert!(matches!(why, Refused::Stopping), "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn by_a_mailbox_that_is_full() {
    let clock = virtual_clock();
    let rule = Rule { max_per_user: 1, overflow: Overflow::Reject, ..Rule::default() };
    for policy in &WAYS[1..] {
        let delivery = builder(&clock, rule).start().unwrap();
        let first = Notification { topic: None, ..full(1, &clock) };
        drop(delivery.send_by(*policy, first).await.unwrap());
        let why = refuses(&delivery, *policy, full(2, &clock)).await;
        assert!(matches!(why, Refused::MailboxFull), "{why}");
        assert_eq!(delivery.held_for(&ada()), (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn by_an_inbox_that_is_missing_away_or_panics() {
    let clock = virtual_clock();
    let delivery = builder(&clock, Rule::default()).start().unwrap();
    let why = refuses(&delivery, Policy::Inbox, full(1, &clock)).await;
    assert!(matches!(why, Refused::NoInbox), "{why}");

    let mut away = MockInbox::new();
    away.expect_add().returning(|_, _| Err(StoreError::Unavailable("simulated".into())));
    let delivery = builder(&clock, Rule::default()).inbox(Arc::new(away)).start().unwrap();
    let why = refuses(&delivery, Policy::Inbox, full(2, &clock)).await;
    assert!(matches!(why, Refused::Store(_)), "{why}");

    let mut panics = MockInbox::new();
    panics.expect_add().returning(|_, _| panic!("this is the test's own panic"));
    let delivery = builder(&clock, Rule::default()).inbox(Arc::new(panics)).start().unwrap();
    let why = refuses(&delivery, Policy::Inbox, full(3, &clock)).await;
    assert!(matches!(why, Refused::Store(_)), "{why}");
}
