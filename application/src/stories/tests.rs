use doorstep_domain::ports::{MockClock, RetractReason};
use doorstep_domain::{ConnectionRef, Outcome, SentBy};
use uuid::Uuid;

use super::*;

/// A clock that goes on by a millisecond with each look.
fn stories(max_steps: usize, max_bytes: usize) -> Stories {
    let now = std::sync::atomic::AtomicI64::new(0);
    let mut clock = MockClock::new();
    clock.expect_now().returning(move || {
        Timestamp::from_micros(now.fetch_add(1000, std::sync::atomic::Ordering::Relaxed))
    });
    Stories::new(StoryLimits { max_steps, max_bytes }, Arc::new(clock))
}

fn id(number: u128) -> NotificationId {
    NotificationId::new(Uuid::from_u128(number))
}

fn ada() -> UserId {
    "ada".parse().unwrap()
}

fn received() -> Step {
    let sent_by = SentBy::Key("shop".into());
    Step::Received { sent_by, kind: "news".parse().unwrap(), policy: "deferred", trace: None }
}

const PHONE: ConnectionRef = ConnectionRef { id: 3, transport: "websocket" };
const LAPTOP: ConnectionRef = ConnectionRef { id: 9, transport: "websocket" };

#[test]
fn a_story_says_who_sent_it_how_long_it_waited_and_which_connection_took_it() {
    let stories = stories(1600, 1 << 20);
    for step in [
        received(),
        Step::Pushed { connection: PHONE, attempt: 1 },
        Step::Pushed { connection: LAPTOP, attempt: 1 },
        Step::Acknowledged(LAPTOP),
        Step::Ended { outcome: Outcome::Delivered, here: true },
        Step::Retracted { connection: PHONE, reason: RetractReason::AcknowledgedElsewhere },
    ] {
        stories.note(&ada(), id(1), step);
    }
    let story = stories.of(id(1)).unwrap();
    assert_eq!((story.outcome, story.complete), (Some(Outcome::Delivered), true));
    assert_eq!(
        story.summary(),
        "delivered, waited 1.0 ms, pushed to 2 connections, taken by 1, retracted on 1"
    );
    let told: Vec<_> = story.steps.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "received from key shop, policy deferred",
            "pushed to connection 3 (websocket)",
            "pushed to connection 9 (websocket)",
            "acknowledged by connection 9 (websocket)",
            "delivered",
            "retracted on connection 3 (websocket): another connection acknowledged it",
        ]
    );
    assert_eq!(stories.of(id(2)), None);
}

#[test]
fn the_oldest_steps_are_forgotten_first_and_the_story_says_so() {
    let stories = stories(4 * RINGS, 1 << 20);
    stories.note(&ada(), id(1), received());
    stories.note(&ada(), id(1), Step::Pushed { connection: PHONE, attempt: 1 });
    assert_eq!(stories.of_user(&ada(), 10).since, None);
    for n in 2..5 {
        stories.note(&ada(), id(n), received());
    }
    let story = stories.of(id(1)).unwrap();
    assert!(!story.complete && story.steps.len() == 1, "{story:?}");
    assert_eq!(story.summary(), "not ended, pushed to 1 connection, taken by none");
    let theirs = stories.of_user(&ada(), 2);
    let ids: Vec<_> = theirs.stories.iter().map(|story| story.id).collect();
    assert_eq!((ids, theirs.more), (vec![id(4), id(3)], true), "newest first");
    assert_eq!(theirs.since, Some(Timestamp::from_micros(0)));
    let others = stories.of_user(&"bob".parse().unwrap(), 10);
    assert!(others.stories.is_empty() && !others.more);
}

#[test]
fn memory_is_bounded_by_steps_and_by_bytes() {
    assert!(size_of::<Noted>() <= 136, "{}", size_of::<Noted>());
    for (max_steps, max_bytes) in [(1600, usize::MAX), (usize::MAX, 160_000), (1, 1)] {
        let stories = stories(max_steps, max_bytes);
        for n in 0..20_000_u128 {
            let user: UserId = "u".repeat(1 + n as usize % 128).parse().unwrap();
            stories.note(&user, id(n), received());
        }
        for ring in &stories.rings {
            let ring = ring.lock().unwrap();
            let (counted, allocated) = ring.bytes();
            assert!(ring.len() <= (max_steps / RINGS).max(1));
            // One step is always remembered.
            assert!(counted <= max_bytes / RINGS || ring.len() == 1, "{counted} of {max_bytes}");
            let most =
                (max_bytes / RINGS).min((max_steps / RINGS).saturating_mul(size_of::<Noted>()));
            assert!(allocated <= most + 64 * size_of::<Noted>(), "{allocated} of {most}");
        }
    }
}

#[test]
fn a_notification_that_was_refused_and_sent_again_is_open() {
    let stories = stories(1600, 1 << 20);
    stories.note(&ada(), id(1), received());
    stories.note(&ada(), id(1), Step::Refused("mailbox_full"));
    let refused = stories.of(id(1)).unwrap();
    assert_eq!(refused.outcome, Some(Outcome::Rejected));
    assert_eq!(refused.steps[1].to_string(), "rejected: mailbox full");
    assert_eq!(refused.summary(), "rejected");
    stories.note(&ada(), id(1), received());
    let again = stories.of(id(1)).unwrap();
    assert_eq!((again.outcome, again.summary().as_str()), (None, "not ended, never pushed"));
}
