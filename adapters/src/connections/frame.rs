use std::time::Instant;

use bytes::Bytes;
use doorstep_domain::{Notification, NotificationId, Timestamp};

use crate::notification_frame::notification_frame;

/// A notification in its wire format, made once and shared by all connections of its user.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) id: NotificationId,
    /// When the notification ends. A frame is not written after its deadline.
    pub(crate) deadline: Timestamp,
    /// The JSON text: UTF-8, without line breaks outside the payload.
    pub(crate) text: Bytes,
    /// When it was made.
    pub(crate) pushed_at: Instant,
}

impl Frame {
    pub(crate) fn new(notification: &Notification, deadline: Timestamp) -> Self {
        let text = notification_frame(notification).into();
        Self { id: notification.id, deadline, text, pushed_at: Instant::now() }
    }
}

#[cfg(test)]
mod tests {
    use doorstep_domain::{Payload, UserId};
    use uuid::Uuid;

    use super::*;

    fn notification(topic: Option<&str>) -> Notification {
        Notification {
            id: NotificationId::new(Uuid::from_u128(7)),
            user_id: UserId::from(Uuid::from_u128(1)),
            kind: "reward.granted".parse().unwrap(),
            topic: topic.map(|topic| topic.parse().unwrap()),
            payload: Payload::parse(r#"{"amount":"1000.00"}"#).unwrap(),
            created_at: Timestamp::from_micros(1),
            ttl: None,
            trace: None,
        }
    }

    #[test]
    fn a_frame_is_exactly_as_documented() {
        let frame = Frame::new(&notification(None), Timestamp::MAX);
        assert_eq!(
            std::str::from_utf8(&frame.text).unwrap(),
            concat!(
                r#"{"type":"notification","id":"00000000-0000-0000-0000-000000000007","#,
                r#""kind":"reward.granted","topic":null,"#,
                r#""created_at":"1970-01-01T00:00:00.000001Z","payload":{"amount":"1000.00"}}"#
            )
        );
    }

    #[test]
    fn a_frame_has_a_traceparent_only_if_its_notification_belongs_to_a_trace() {
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let traced = Notification { trace: trace.parse().ok(), ..notification(None) };
        let frame = Frame::new(&traced, Timestamp::MAX);
        let part = format!(r#"001Z","traceparent":"{trace}","payload":{{"#);
        assert!(std::str::from_utf8(&frame.text).unwrap().contains(&part), "{:?}", frame.text);
    }

    #[test]
    fn a_topic_cannot_break_out_of_its_string() {
        let topic = r#"a"b\c"#;
        let frame = Frame::new(&notification(Some(topic)), Timestamp::MAX);
        let json: serde_json::Value = serde_json::from_slice(&frame.text).unwrap();
        assert_eq!(json["topic"], topic);
    }
}
