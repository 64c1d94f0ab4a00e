use std::borrow::Cow;

use doorstep_domain::NotificationId;
use serde::Deserialize;
use serde_json::value::RawValue;

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
        // Not parsed any further: what a frame has besides `type` and `id` does not matter, and neither does how deep
        // it is nested. serde_json reads values only to a depth of 128.
        #[derive(Deserialize)]
        struct Message<'a> {
            #[serde(rename = "type", borrow)]
            kind: Option<&'a RawValue>,
            #[serde(borrow)]
            id: Option<&'a RawValue>,
        }
        // serde takes an array for a structure: its first element would be the type.
        if !text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{') {
            return Err(Malformed);
        }
        let Ok(message) = serde_json::from_str::<Message<'_>>(text) else {
            // A member that is given twice makes the type unknown.
            let well_formed = serde_json::from_str::<&RawValue>(text).is_ok();
            return if well_formed { Ok(Self::Unknown) } else { Err(Malformed) };
        };
        // A `type` that is not a string is unknown, and no reason to close the connection.
        let of = match message.kind.and_then(string).as_deref() {
            Some("ack") => Self::Ack,
            Some("dismiss") => Self::Dismiss,
            _ => return Ok(Self::Unknown),
        };
        let id = message.id.filter(|id| id.get().starts_with('"')).ok_or(Malformed)?;
        // An id in another format cannot be one of ours; it is ignored like any unknown id.
        let id = string(id).and_then(|id| id.parse().ok());
        Ok(id.map_or(Self::Unknown, of))
    }
}

fn string(json: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str::<Text<'_>>(json.get()).ok().map(|text| text.0)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn acks_are_read_and_unknown_messages_are_ignored() {
        let id = NotificationId::new(Uuid::from_u128(7));
        let deep = "[".repeat(200) + &"]".repeat(200);
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
            (format!(r#"["ack","{id}"]"#), Err(Malformed)),
            (format!(r#"{{"type":"hello","id":{deep}}}"#), Ok(FromClient::Unknown)),
            (format!(r#"{{"type":7,"more":{deep}}}"#), Ok(FromClient::Unknown)),
            (format!(r#"{{"type":"ack","id":{deep}}}"#), Err(Malformed)),
            (r#"{"type":"hello","id":1e999}"#.into(), Ok(FromClient::Unknown)),
            (r#"{"type":"\ud800"}"#.into(), Ok(FromClient::Unknown)),
            (r#"{"type":"ack","type":"ack"}"#.into(), Ok(FromClient::Unknown)),
            ("ack".into(), Err(Malformed)),
            (String::new(), Err(Malformed)),
            (r#"{"type":"ack""#.into(), Err(Malformed)),
        ];
        for (text, expected) in cases {
            assert_eq!(FromClient::parse(&text), expected, "{text}");
        }
    }
}
