use doorstep_domain::{Notification, NotificationId, Timestamp};
use serde::Deserialize;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::notification_frame::notification_frame;

/// A notification as it goes over the wire: written once, shared by all connections of its user.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) id: NotificationId,
    /// When the notification ends: from then on it is not written any more.
    pub(super) deadline: Timestamp,
    pub(super) text: Utf8Bytes,
}

impl Frame {
    pub(super) fn new(notification: &Notification, deadline: Timestamp) -> Self {
        Self { id: notification.id, deadline, text: notification_frame(notification).into() }
    }
}

/// What a client says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FromClient {
    /// It has this notification.
    Ack(NotificationId),
    /// Something well-formed that this version does not know.
    Unknown,
}

/// The message is not a JSON object, or is an ack of nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl FromClient {
    pub(super) fn parse(text: &str) -> Result<Self, Malformed> {
        #[derive(Deserialize)]
        struct Message<'a> {
            #[serde(rename = "type", borrow)]
            kind: Option<std::borrow::Cow<'a, str>>,
            #[serde(default)]
            id: Option<serde_json::Value>,
        }
        // A type that is no string is not one we know, and that alone is nothing to close a connection for.
        let Ok(message) = serde_json::from_str::<Message<'_>>(text) else {
            return match serde_json::from_str(text) {
                Ok(serde_json::Value::Object(_)) => Ok(Self::Unknown),
                _ => Err(Malformed),
            };
        };
        if message.kind.as_deref() != Some("ack") {
            return Ok(Self::Unknown);
        }
        let id = message.id.as_ref().and_then(serde_json::Value::as_str).ok_or(Malformed)?;
        // An id that none of ours can have is acknowledged by nobody, like any other unknown one.
        Ok(id.parse().map_or(Self::Unknown, Self::Ack))
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
        }
    }

    #[test]
    fn a_frame_is_exactly_as_the_design_says() {
        let frame = Frame::new(&notification(None), Timestamp::MAX);
        assert_eq!(
            frame.text.as_str(),
            concat!(
                r#"{"type":"notification","id":"00000000-0000-0000-0000-000000000007","#,
                r#""kind":"reward.granted","topic":null,"#,
                r#""created_at":"1970-01-01T00:00:00.000001Z","payload":{"amount":"1000.00"}}"#
            )
        );
    }

    #[test]
    fn a_topic_cannot_break_out_of_its_string() {
        let topic = r#"a"b\c"#;
        let frame = Frame::new(&notification(Some(topic)), Timestamp::MAX);
        let json: serde_json::Value = serde_json::from_str(&frame.text).unwrap();
        assert_eq!(json["topic"], topic);
    }

    #[test]
    fn clients_say_acks_and_things_we_do_not_know() {
        let id = NotificationId::new(Uuid::from_u128(7));
        let cases = [
            (format!(r#"{{"type":"ack","id":"{id}"}}"#), Ok(FromClient::Ack(id))),
            (format!(r#"{{"type":"ack","id":"{id}","more":[1]}}"#), Ok(FromClient::Ack(id))),
            (format!(r#"{{"type":"\u0061ck","id":"{id}"}}"#), Ok(FromClient::Ack(id))),
            (r#"{"type":"ack","id":"nobody's"}"#.into(), Ok(FromClient::Unknown)),
            (r#"{"type":"hello"}"#.into(), Ok(FromClient::Unknown)),
            (r#"{"type":7}"#.into(), Ok(FromClient::Unknown)),
            ("{}".into(), Ok(FromClient::Unknown)),
            (r#"{"type":"ack"}"#.into(), Err(Malformed)),
            (r#"{"type":"ack","id":7}"#.into(), Err(Malformed)),
            ("[]".into(), Err(Malformed)),
            ("ack".into(), Err(Malformed)),
            (String::new(), Err(Malformed)),
            (r#"{"type":"ack""#.into(), Err(Malformed)),
        ];
        for (text, expected) in cases {
            assert_eq!(FromClient::parse(&text), expected, "{text}");
        }
    }
}
