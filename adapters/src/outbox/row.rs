use std::time::Duration;

use doorstep_domain::ports::{Written, WrittenPayload};
use doorstep_domain::{Payload, UserId};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::error::OutboxError;

/// PostgreSQL prints a space after each comma and colon, so the
/// text of an allowed payload may be almost twice as long. One that is larger than that is not read.
const MOST_JSON_BYTES: usize = 2 * Payload::MAX_BYTES;

/// The columns that are read, bounded: texts that are longer than allowed are cut, and still longer than allowed.
pub(super) fn columns() -> String {
    let text = UserId::MAX_BYTES + 1;
    format!(
        "seq, id::text AS id, left(user_id, {text}) AS user_id, left(kind, {text}) AS kind, \
         left(topic, {text}) AS topic, ttl, left(policy, {text}) AS policy, \
         left(traceparent, {text}) AS traceparent, \
         octet_length(payload::text) AS size, \
         CASE WHEN octet_length(payload::text) <= {MOST_JSON_BYTES} THEN payload::text END AS payload, \
         coalesce(extract(epoch FROM clock_timestamp() - called_at) * 1000000, 0)::bigint AS age"
    )
}

/// Reads a row that was selected with [`columns`].
pub(super) fn read(row: &PgRow) -> Result<Written, OutboxError> {
    let seq: i64 = row.try_get("seq")?;
    let id: Option<String> = row.try_get("id")?;
    let size: Option<i32> = row.try_get("size")?;
    let json: Option<String> = row.try_get("payload")?;
    let age: i64 = row.try_get("age")?;
    let ttl: Option<i32> = row.try_get("ttl")?;
    let payload = match (size, json) {
        (_, Some(json)) => WrittenPayload::Json(compact(&json)),
        (Some(size), None) => WrittenPayload::TooLarge(usize::try_from(size).unwrap_or(usize::MAX)),
        (None, None) => WrittenPayload::Missing,
    };
    Ok(Written {
        place: u64::try_from(seq).unwrap_or(0),
        age: Duration::from_micros(u64::try_from(age).unwrap_or(0)),
        id: id.and_then(|id| id.parse().ok()),
        user_id: row.try_get("user_id")?,
        kind: row.try_get("kind")?,
        payload,
        topic: row.try_get("topic")?,
        ttl: ttl.map(i64::from),
        policy: row.try_get("policy")?,
        traceparent: row.try_get("traceparent")?,
    })
}

/// The same JSON without the blanks between its parts.
fn compact(json: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let mut keep = |c: char| {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            c => return in_string || !c.is_ascii_whitespace(),
        }
        true
    };
    json.chars().filter(|c| keep(*c)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_blanks_between_parts_go() {
        let json = r#"{"a b": [1, 2, "c, \" d: \\"], "e": {"f": null}}"#;
        assert_eq!(compact(json), r#"{"a b":[1,2,"c, \" d: \\"],"e":{"f":null}}"#);
    }
}
