use doorstep_domain::NotificationId;
use serde::Deserialize;

/// A message from a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FromClient {
    /// The client has this notification.
    Ack(NotificationId),
    /// The user closed this notification.
    Dismiss(NotificationId),
    /// A well-formed message of a type that this version does not know.
    Unknown,
}

/// The message is not a JSON object, or is an ack without an id.
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
        // A `type` that is not a string is unknown, and no reason to close the connection.
        let Ok(message) = serde_json::from_str::<Message<'_>>(text) else {
            return match serde_json::from_str(text) {
                Ok(serde_json::Value::Object(_)) => Ok(Self::Unknown),
                _ => Err(Malformed),
            };
        };
        let of = match message.kind.as_deref() {
            Some("ack") => Self::Ack,
            Some("dismiss") => Self::Dismiss,
            _ => return Ok(Self::Unknown),
        };
        let id = message.id.as_ref().and_then(serde_json::Value::as_str).ok_or(Malformed)?;
        // An id in another format cannot be one of ours; it is ignored like any unknown id.
        Ok(id.parse().map_or(Self::Unknown, of))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn acks_are_read_and_unknown_messages_are_ignored() {
        let id = NotificationId::new(Uuid::from_u128(7));
        let cases = [
            (format!(r#"{{"type":"ack","id":"{id}"}}"#), Ok(FromClient::Ack(id))),
            (format!(r#"{{"type":"ack","id":"{id}","more":[1]}}"#), Ok(FromClient::Ack(id))),
            (format!(r#"{{"type":"\u0061ck","id":"{id}"}}"#), Ok(FromClient::Ack(id))),
            (r#"{"type":"ack","id":"nobody's"}"#.into(), Ok(FromClient::Unknown)),
            (format!(r#"{{"type":"dismiss","id":"{id}"}}"#), Ok(FromClient::Dismiss(id))),
            (r#"{"type":"dismiss"}"#.into(), Err(Malformed)),
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
