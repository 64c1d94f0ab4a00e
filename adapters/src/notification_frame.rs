//! The JSON frame that carries a notification, the same on every transport.

use doorstep_domain::Notification;

use crate::http::rfc3339;

/// Returns the frame of a notification (docs/wire.md), without line breaks outside its payload.
pub(crate) fn notification_frame(notification: &Notification) -> String {
    let Notification { id, kind, topic, payload, created_at, trace, .. } = notification;
    // Ids, kinds and times contain no characters that JSON escapes; a topic may.
    let topic = match topic {
        Some(topic) => serde_json::Value::from(topic.as_str()).to_string(),
        None => "null".into(),
    };
    let trace = trace.map_or_else(String::new, |trace| format!(r#","traceparent":"{trace}""#));
    let (created_at, payload) = (rfc3339(*created_at), payload.as_str());
    format!(
        r#"{{"type":"notification","id":"{id}","kind":"{kind}","topic":{topic},"created_at":"{created_at}"{trace},"payload":{payload}}}"#
    )
}
