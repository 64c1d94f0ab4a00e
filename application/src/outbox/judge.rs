use doorstep_domain::ports::{Bad, Written, WrittenPayload};
use doorstep_domain::{Payload, PayloadError, SentBy};

use crate::publishing::{Draft, DraftBounds};

/// A draft, or everything that is wrong with the row.
pub(super) fn judge(row: &Written, bounds: DraftBounds) -> Result<Draft, Bad> {
    let mut reader = Reader { errors: Vec::new() };
    let user_id = reader.required("user_id", row.user_id.as_deref(), DraftBounds::text);
    let kind = reader.required("kind", row.kind.as_deref(), DraftBounds::text);
    let topic = reader.optional("topic", row.topic.as_deref(), DraftBounds::text);
    let policy = reader.optional("policy", row.policy.as_deref(), |word| bounds.policy(word));
    // A negative number is no number of seconds.
    let ttl = reader.optional("ttl", row.ttl, |seconds| bounds.ttl(u64::try_from(seconds).ok()));
    let payload = match &row.payload {
        WrittenPayload::Missing => None,
        WrittenPayload::Json(json) => Some(DraftBounds::payload(json)),
        WrittenPayload::TooLarge(size) => Some(Err(PayloadError::TooLarge(*size).to_string())),
    };
    let payload: Option<Payload> = reader.required("payload", payload, |payload| payload);
    if row.id.is_none() {
        reader.fault("id", "missing".to_owned());
    }
    match (user_id, kind, payload) {
        (Some(user_id), Some(kind), Some(payload)) if reader.errors.is_empty() => {
            // One that cannot be read is not passed on, and no fault of the notification.
            let trace = row.traceparent.as_deref().and_then(|text| text.parse().ok());
            let (id, sent_by) = (row.id, SentBy::Outbox);
            Ok(Draft { user_id, kind, payload, topic, ttl, policy, id, trace, sent_by })
        }
        _ => Err(Bad { place: row.place, errors: reader.errors }),
    }
}

struct Reader {
    errors: Vec<(String, String)>,
}

impl Reader {
    fn fault(&mut self, field: &str, detail: String) {
        self.errors.push((field.to_owned(), detail));
    }

    fn required<V, T>(
        &mut self,
        field: &str,
        value: Option<V>,
        parse: impl FnOnce(V) -> Result<T, String>,
    ) -> Option<T> {
        if value.is_none() {
            self.fault(field, "missing".to_owned());
        }
        self.optional(field, value, parse)
    }

    fn optional<V, T>(
        &mut self,
        field: &str,
        value: Option<V>,
        parse: impl FnOnce(V) -> Result<T, String>,
    ) -> Option<T> {
        parse(value?).map_err(|detail| self.fault(field, detail)).ok()
    }
}
