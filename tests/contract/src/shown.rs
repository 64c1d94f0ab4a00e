//! How two lists of stored things differ, in ids and names of fields: a payload is never printed.

use std::fmt::Debug;

use doorstep_domain::ports::{InboxItem, Written, WrittenPayload};
use doorstep_domain::{LedgerEntry, LogEntry, NewUser, Notification, Position, Session, User};

/// Something that a store returns.
pub(crate) trait Shown: PartialEq + Clone {
    /// Its id.
    fn id(&self) -> String;

    /// Its other fields, as they may be printed.
    fn fields(&self) -> Vec<(&'static str, String)>;
}

/// How many ids of a list are named.
const NAMED: usize = 4;

/// In words, how what came differs from what was expected; `None` if it does not.
pub(crate) fn difference<T: Shown>(came: &[T], expected: &[T]) -> Option<String> {
    if came == expected {
        return None;
    }
    let first = came.iter().zip(expected).position(|(came, expected)| came != expected);
    let at = first.unwrap_or_else(|| came.len().min(expected.len()));
    if let (Some(came), Some(expected)) = (came.get(at), expected.get(at))
        && came.id() == expected.id()
    {
        let both = came.fields().into_iter().zip(expected.fields());
        let differs = both.into_iter().find(|(came, expected)| came != expected);
        let id = came.id();
        return Some(differs.map_or_else(
            || format!("number {}, {id}, differs in its content", at + 1),
            |((field, came), (_, expected))| {
                format!(
                    "number {}, {id}: expected the `{field}` {expected}, and got {came}",
                    at + 1
                )
            },
        ));
    }
    let (expected, came) = (ids(expected, at), ids(came, at));
    Some(format!("expected {expected}, and got {came}"))
}

/// How many there are, and the ids of those from this place on.
fn ids<T: Shown>(all: &[T], from: usize) -> String {
    if all.is_empty() {
        return "none".to_owned();
    }
    let rest = all.get(from..).unwrap_or_default();
    let named: Vec<_> = rest.iter().take(NAMED).map(Shown::id).collect();
    let more = if rest.len() > NAMED { ", ..." } else { "" };
    let those = if named.is_empty() { "no more".to_owned() } else { named.join(", ") };
    format!("{} (from number {}: {those}{more})", all.len(), from + 1)
}

fn field(name: &'static str, value: &impl Debug) -> (&'static str, String) {
    (name, format!("{value:?}"))
}

/// The size of a content, and a number that another content hardly has.
fn content(bytes: &[u8]) -> String {
    let mixed =
        bytes.iter().fold(0_u32, |mixed, byte| mixed.wrapping_mul(16_777_619) ^ u32::from(*byte));
    format!("of {} bytes with the checksum {mixed:08x}", bytes.len())
}

impl Shown for Notification {
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            field("user_id", &self.user_id),
            field("kind", &self.kind),
            field("topic", &self.topic),
            ("payload", content(self.payload.as_str().as_bytes())),
            field("created_at", &self.created_at),
            field("ttl", &self.ttl),
            field("trace", &self.trace.as_ref().map(ToString::to_string)),
        ]
    }
}

impl Shown for InboxItem {
    fn id(&self) -> String {
        self.notification.id.to_string()
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = self.notification.fields();
        fields.extend([field("by", &self.by), field("read_at", &self.read_at)]);
        fields
    }
}

impl Shown for User {
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![field("username", &self.username), field("created_at", &self.created_at)]
    }
}

impl Shown for NewUser {
    fn id(&self) -> String {
        self.user.id.to_string()
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = self.user.fields();
        fields.push(("password", content(self.password.as_str().as_bytes())));
        fields
    }
}

impl Shown for Session {
    fn id(&self) -> String {
        format!("a session of {}", self.user_id)
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![("token", content(self.token.as_bytes())), field("expires_at", &self.expires_at)]
    }
}

impl Shown for LedgerEntry {
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            field("user_id", &self.user_id),
            field("kind", &self.kind),
            field("amount", &self.amount),
            field("reference", &self.reference),
            field("created_at", &self.created_at),
        ]
    }
}

impl Shown for Position {
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            field("user_id", &self.user_id),
            field("order", &self.order),
            field("fill_price", &self.fill_price),
            field("cost", &self.cost),
            field("opened_at", &self.opened_at),
            field("closed", &self.closed),
        ]
    }
}

impl Shown for Written {
    fn id(&self) -> String {
        format!("the row at {}", self.place)
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        let payload = match &self.payload {
            WrittenPayload::Json(text) => content(text.as_bytes()),
            other => format!("{other:?}"),
        };
        vec![
            field("id", &self.id.map(|id| id.to_string())),
            field("user_id", &self.user_id),
            field("kind", &self.kind),
            ("payload", payload),
            field("topic", &self.topic),
            field("ttl", &self.ttl),
            field("policy", &self.policy),
        ]
    }
}

impl Shown for LogEntry {
    fn id(&self) -> String {
        format!("the entry {} of {}", self.sequence.0, self.key)
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![field("time", &self.time), ("bytes", content(&self.bytes))]
    }
}
