use doorstep_domain::Timestamp;
use doorstep_domain::ports::{
    Inbox, MockClock, MockConnectionControl, MockIds, MockInbox, MockPresence, MockPusher, Pushed,
};
use uuid::Uuid;

use super::*;
use crate::StopSignal;
use crate::delivery::{Limits, Overflow, Rule, Rules};

/// Publishing to a node where nobody is online, or (`here`) everybody; pushes are written at once.
fn publishing(here: bool, limits: Limits, rule: Rule) -> Publishing {
    keeping_in(None, here, limits, rule)
}

fn keeping_in(inbox: Option<Arc<dyn Inbox>>, here: bool, limits: Limits, rule: Rule) -> Publishing {
    let clock = || {
        let mut clock = MockClock::new();
        clock.expect_now().return_const(Timestamp::from_micros(7));
        Arc::new(clock)
    };
    let mut presence = MockPresence::new();
    presence.expect_is_online().return_const(here);
    presence.expect_is_reading().return_const(here);
    let presence = Arc::new(presence);
    let mut pusher = MockPusher::new();
    pusher.expect_push().times(0..=1).returning(|_, _, _| Ok(Pushed::Written));
    let records = Arc::new(PublishedRecords::new(PublishedRecords::KEEP, 1000, clock()));
    let mut delivery = Delivery::builder(presence.clone(), Arc::new(pusher), clock())
        .rules(Rules { default: rule, ..Rules::default() })
        .limits(limits)
        .outcomes(records.clone());
    if let Some(inbox) = inbox {
        delivery = delivery.inbox(inbox);
    }
    let delivery = delivery.start().unwrap();
    let mut ids = MockIds::new();
    ids.expect_next().returning(Uuid::now_v7);
    let mut control = MockConnectionControl::new();
    control.expect_count_of().return_const(usize::from(here));
    Publishing::new(PublishingParts {
        control: Arc::new(control),
        delivery: Arc::new(delivery),
        presence,
        records,
        clock: clock(),
        ids: Arc::new(ids),
        stopping: StopSignal::new(),
    })
}

fn draft(id: u128) -> Draft {
    Draft {
        user_id: "ada".parse().unwrap(),
        kind: "news".parse().unwrap(),
        payload: doorstep_domain::Payload::parse("{}").unwrap(),
        topic: None,
        ttl: None,
        policy: None,
        id: Some(NotificationId::new(Uuid::from_u128(id))),
        trace: None,
        sent_by: doorstep_domain::SentBy::Program,
    }
}

#[tokio::test]
async fn a_repeat_gets_the_first_answer_and_is_not_pushed() {
    // The pusher takes one push, and a second one fails the test.
    let publishing = publishing(true, Limits::default(), Rule::default());
    let first = publishing.publish(draft(1)).await;
    assert_eq!(first.state, Ok(Acceptance::Ended(Outcome::Delivered)));
    assert_eq!(publishing.publish(draft(1)).await, first);
    let progress = publishing.look_up(first.id).unwrap().progress;
    assert!(matches!(progress, Progress::Ended(Outcome::Delivered, _)), "{progress:?}");
}

#[tokio::test]
async fn a_repeat_of_a_waiting_notification_does_not_wait_twice() {
    let publishing = publishing(false, Limits::default(), Rule::default());
    let first = publishing.publish(draft(1)).await;
    assert_eq!(first.state, Ok(Acceptance::Waiting));
    assert_eq!(publishing.publish(draft(1)).await, first);
    assert_eq!(publishing.parts.delivery.held().waiting, 1);
}

#[tokio::test]
async fn a_full_mailbox_rejects_and_takes_the_same_id_later() {
    let rule = Rule { max_per_user: 1, overflow: Overflow::Reject, ..Rule::default() };
    let publishing = publishing(false, Limits::default(), rule);
    assert!(publishing.publish(draft(1)).await.state.is_ok());
    for _ in 0..2 {
        let second = publishing.publish(draft(2)).await;
        assert_eq!(second.state, Err(Rejection::MailboxFull));
        let progress = publishing.look_up(second.id).unwrap().progress;
        assert!(matches!(progress, Progress::Ended(Outcome::Rejected, _)), "{progress:?}");
    }
}

#[tokio::test]
async fn the_policy_of_one_notification_beats_that_of_its_kind() {
    let publishing = publishing(false, Limits::default(), Rule::default());
    let now = Draft { policy: Some(WantedPolicy::Immediate), ..draft(1) };
    assert_eq!(publishing.publish(now).await.state, Ok(Acceptance::Ended(Outcome::Expired)));
    let kept = Draft { policy: Some(WantedPolicy::Inbox), ..draft(2) };
    assert_eq!(publishing.publish(kept).await.state, Err(Rejection::NoInbox));
    assert_eq!(publishing.look_up(NotificationId::new(Uuid::from_u128(2))), None);
}

#[tokio::test]
async fn each_refusal_is_counted_by_its_reason() {
    let publishing = publishing(false, Limits::default(), Rule::default());
    let refused = |reason: &str| {
        let counts = publishing.parts.delivery.refused();
        counts.into_iter().find(|(counted, _)| *counted == reason).map(|(_, count)| count)
    };
    let kept = Draft { policy: Some(WantedPolicy::Inbox), ..draft(1) };
    assert_eq!(publishing.publish(kept).await.state, Err(Rejection::NoInbox));
    assert_eq!((refused("no_inbox"), refused("stopping")), (Some(1), Some(0)));
    publishing.parts.delivery.stop(Duration::ZERO).await;
    assert_eq!(publishing.publish(draft(2)).await.state, Err(Rejection::Stopping));
    assert_eq!((refused("no_inbox"), refused("stopping")), (Some(1), Some(1)));
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_with_the_outcome_the_time_or_the_node() {
    let publishing = publishing(false, Limits::default(), Rule::default());
    let Published { id, .. } = publishing.publish(draft(1)).await;
    let begun = tokio::time::Instant::now();
    publishing.wait_for([id], Duration::from_secs(5)).await;
    assert_eq!(begun.elapsed(), Duration::from_secs(5), "the time");
    let waiting = publishing.wait_for([id], Duration::from_secs(5));
    let end = async { publishing.parts.records.end(id, Outcome::Replaced, Timestamp::MAX) };
    tokio::join!(waiting, end);
    assert_eq!(begun.elapsed(), Duration::from_secs(5), "the outcome");
    publishing.wait_for([id], Duration::from_secs(5)).await;
    let Published { id, .. } = publishing.publish(draft(2)).await;
    publishing.parts.stopping.give();
    publishing.wait_for([id], Duration::from_secs(5)).await;
    assert_eq!(begun.elapsed(), Duration::from_secs(5), "the node");
}

#[tokio::test]
async fn a_notification_that_waits_here_without_a_record_is_recognised() {
    let publishing = publishing(false, Limits::default(), Rule::default());
    // As if it were taken up from a node that stopped.
    let Draft { user_id, kind, topic, payload, ttl, id, .. } = draft(1);
    let (id, created_at) = (id.unwrap(), Timestamp::from_micros(5));
    let taken_up = Notification { id, user_id, kind, topic, payload, created_at, ttl, trace: None };
    drop(publishing.parts.delivery.send(taken_up).await.unwrap());
    for _ in 0..2 {
        let again = publishing.publish(draft(1)).await;
        assert_eq!(again, Published { id, state: Ok(Acceptance::Waiting) });
        assert_eq!(publishing.parts.delivery.held().waiting, 1);
    }
    assert_eq!(publishing.look_up(id).unwrap().progress, Progress::Open(Acceptance::Waiting));
    // Another user's notification with the same id is a different one.
    let theirs = Draft { user_id: "bob".parse().unwrap(), ..draft(2) };
    assert!(publishing.publish(theirs).await.state.is_ok());
    assert_eq!(publishing.parts.delivery.held().waiting, 2);
}

#[tokio::test]
async fn drafts_of_several_users_share_a_write_and_those_of_one_user_keep_their_order() {
    let writes = Arc::new(std::sync::Mutex::new(Vec::<Vec<u128>>::new()));
    let mut inbox = MockInbox::new();
    let noted = writes.clone();
    inbox.expect_add().returning(move |some, _| {
        noted.lock().unwrap().push(some.iter().map(|n| n.id.as_uuid().as_u128()).collect());
        Ok(())
    });
    let publishing = keeping_in(Some(Arc::new(inbox)), false, Limits::default(), Rule::default());
    let kept = |id: u128, user: &str| {
        let user_id = user.parse().unwrap();
        Draft { policy: Some(WantedPolicy::Inbox), user_id, ..draft(id) }
    };
    // The deferred one of Ada comes after her first item, and so does all that follows it. Eve's repeats an id that is on
    // its way.
    let waits = Draft { user_id: "ada".parse().unwrap(), ..draft(3) };
    let repeated = Draft { user_id: "eve".parse().unwrap(), ..draft(2) };
    let drafts =
        vec![kept(1, "ada"), kept(2, "ben"), waits, kept(4, "ada"), kept(5, "ben"), repeated];
    let results = publishing.publish_all(drafts).await;
    let ids: Vec<u128> = results.iter().map(|one| one.id.as_uuid().as_u128()).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5, 2]);
    assert!(results.iter().all(|one| one.state == Ok(Acceptance::Waiting)), "{results:?}");
    assert_eq!(*writes.lock().unwrap(), [vec![1, 2, 5], vec![4]]);
    assert_eq!(publishing.publish_all(Vec::new()).await, []);
}
