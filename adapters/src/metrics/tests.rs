use std::time::Duration;

use doorstep_domain::{Ended, NotificationId, Outcome, Timestamp, UserId};
use uuid::Uuid;

use super::*;

fn ended(kind: &str, outcome: Outcome, waited: Duration) -> Ended {
    Ended {
        id: NotificationId::new(Uuid::nil()),
        user_id: UserId::from(Uuid::nil()),
        kind: kind.parse().unwrap(),
        outcome,
        at: Timestamp::default(),
        waited,
        trace: None,
    }
}

#[tokio::test]
async fn ends_are_counted_by_outcome_and_kind_and_waits_by_outcome() {
    let metrics = Metrics::new().unwrap();
    let ends = vec![
        ended("welcome", Outcome::Delivered, Duration::from_millis(2)),
        ended("welcome", Outcome::Delivered, Duration::from_secs(40)),
        ended("welcome", Outcome::Expired, Duration::from_mins(1)),
    ];
    metrics.outcomes().ended(ends).await;
    let text = metrics.text().unwrap();
    for line in [
        "# TYPE doorstep_notifications_ended_total counter",
        r#"doorstep_notifications_ended_total{kind="welcome",outcome="delivered"} 2"#,
        r#"doorstep_notifications_ended_total{kind="welcome",outcome="expired"} 1"#,
        "# TYPE doorstep_notification_wait_seconds histogram",
        r#"doorstep_notification_wait_seconds_bucket{outcome="delivered",le="0.0025"} 1"#,
        r#"doorstep_notification_wait_seconds_bucket{outcome="delivered",le="60"} 2"#,
        r#"doorstep_notification_wait_seconds_count{outcome="expired"} 1"#,
    ] {
        assert!(text.lines().any(|said| said == line), "no {line} in\n{text}");
    }
}

#[tokio::test]
async fn kinds_beyond_the_limit_share_a_label() {
    let metrics = Metrics::new().unwrap();
    for number in 0..Kinds::MOST + 7 {
        let end = ended(&format!("kind-{number}"), Outcome::Delivered, Duration::ZERO);
        metrics.outcomes().ended(vec![end.clone(), end]).await;
    }
    let text = metrics.text().unwrap();
    let series =
        text.lines().filter(|line| line.starts_with("doorstep_notifications_ended_total{"));
    assert_eq!(series.count(), (Kinds::MOST + 1) * Outcome::ALL.len());
    let other = r#"doorstep_notifications_ended_total{kind="other",outcome="delivered"} 14"#;
    assert!(text.lines().any(|line| line == other), "{text}");
}
