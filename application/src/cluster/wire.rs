//! Entries as bytes: one byte for the format, then a message of Protocol Buffers.
//!
//! Nodes of two versions share a log during an upgrade. A field that a version does not know is ignored, and so is a kind:
//! its tag is a field that it does not know. **A tag is never used again with another meaning.** The first byte changes
//! only for something that is not a message of this schema.

use std::sync::Arc;
use std::time::Duration;

use doorstep_domain::ports::RetractReason;
use doorstep_domain::{
    LogKey, Notification, NotificationId, Outcome, Payload, Timestamp, TokenHash, Ttl,
};
use prost::{Message, Oneof};

use super::{ClusterEntry, NodeId, Unreadable};

/// The format of all that follows.
const FORMAT: u8 = 1;

#[derive(Clone, PartialEq, Message)]
struct WireEntry {
    #[prost(oneof = "WireKind", tags = "1, 2, 3, 4, 5, 6, 7, 8")]
    kind: Option<WireKind>,
}

#[derive(Clone, PartialEq, Oneof)]
enum WireKind {
    #[prost(message, tag = "1")]
    Accepted(WireNotification),
    #[prost(message, tag = "2")]
    Promoting(WireNotification),
    #[prost(message, tag = "3")]
    Ended(WireEnded),
    #[prost(message, tag = "4")]
    Barrier(WireBarrier),
    #[prost(message, tag = "5")]
    SignedOut(WireSignedOut),
    #[prost(message, tag = "6")]
    Disconnect(WireUser),
    #[prost(message, tag = "7")]
    Look(WireUser),
    #[prost(message, tag = "8")]
    Retract(WireRetract),
}

#[derive(Clone, PartialEq, Message)]
struct WireNotification {
    #[prost(bytes = "vec", tag = "1")]
    node: Vec<u8>,
    #[prost(string, tag = "2")]
    user: String,
    #[prost(string, tag = "3")]
    kind: String,
    #[prost(string, optional, tag = "4")]
    topic: Option<String>,
    #[prost(string, tag = "5")]
    payload: String,
    #[prost(sint64, tag = "6")]
    created_micros: i64,
    #[prost(uint32, optional, tag = "7")]
    ttl_millis: Option<u32>,
    #[prost(uint64, tag = "8")]
    age_micros: u64,
    #[prost(bool, tag = "9")]
    now_or_never: bool,
    #[prost(string, optional, tag = "10")]
    traceparent: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct WireEnded {
    #[prost(bytes = "vec", tag = "1")]
    by: Vec<u8>,
    #[prost(uint32, tag = "2")]
    outcome: u32,
    #[prost(string, tag = "3")]
    user: String,
    #[prost(string, tag = "4")]
    kind: String,
    #[prost(sint64, tag = "5")]
    created_micros: i64,
    #[prost(string, optional, tag = "6")]
    traceparent: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct WireBarrier {
    #[prost(bytes = "vec", tag = "1")]
    by: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct WireSignedOut {
    #[prost(bytes = "vec", tag = "1")]
    token: Vec<u8>,
    #[prost(string, tag = "2")]
    user: String,
}

#[derive(Clone, PartialEq, Message)]
struct WireUser {
    #[prost(string, tag = "1")]
    user: String,
}

#[derive(Clone, PartialEq, Message)]
struct WireRetract {
    #[prost(string, tag = "1")]
    user: String,
    #[prost(string, tag = "2")]
    id: String,
    #[prost(uint32, tag = "3")]
    reason: u32,
}

/// The numbers of outcomes. They never change.
const OUTCOMES: &[(u32, Outcome)] = &[
    (1, Outcome::Delivered),
    (2, Outcome::Expired),
    (3, Outcome::Promoted),
    (4, Outcome::Replaced),
    (5, Outcome::Dropped),
    (6, Outcome::Rejected),
    (7, Outcome::Recalled),
];

/// The numbers of reasons. They never change.
const REASONS: &[(u32, RetractReason)] = &[
    (1, RetractReason::Recalled),
    (2, RetractReason::AcknowledgedElsewhere),
    (3, RetractReason::DismissedElsewhere),
];

fn number<T: PartialEq>(table: &[(u32, T)], value: Option<&T>) -> u32 {
    table.iter().find(|(_, known)| Some(known) == value).map_or(0, |(number, _)| *number)
}

fn value<T: Copy>(table: &[(u32, T)], number: u32) -> Option<T> {
    table.iter().find(|(known, _)| *known == number).map(|(_, value)| *value)
}

pub(super) fn encode(entry: &ClusterEntry) -> Arc<[u8]> {
    let kind = match entry {
        ClusterEntry::Accepted { notification, origin, age, now_or_never } => {
            WireKind::Accepted(WireNotification {
                age_micros: u64::try_from(age.as_micros()).unwrap_or(u64::MAX),
                now_or_never: *now_or_never,
                ..write(notification, *origin)
            })
        }
        ClusterEntry::Promoting { notification, by } => {
            WireKind::Promoting(write(notification, *by))
        }
        ClusterEntry::Ended { outcome, by, user, kind, created_at, trace } => {
            WireKind::Ended(WireEnded {
                by: by.0.to_vec(),
                outcome: number(OUTCOMES, outcome.as_ref()),
                user: user.to_string(),
                kind: kind.to_string(),
                created_micros: created_at.as_micros(),
                traceparent: trace.map(|trace| trace.to_string()),
            })
        }
        ClusterEntry::Barrier { by } => WireKind::Barrier(WireBarrier { by: by.0.to_vec() }),
        ClusterEntry::SignedOut { user, token } => WireKind::SignedOut(WireSignedOut {
            token: token.as_bytes().to_vec(),
            user: user.to_string(),
        }),
        ClusterEntry::Disconnect { user } => {
            WireKind::Disconnect(WireUser { user: user.to_string() })
        }
        ClusterEntry::Look { user } => WireKind::Look(WireUser { user: user.to_string() }),
        ClusterEntry::Retract { user, id, reason } => WireKind::Retract(WireRetract {
            user: user.to_string(),
            id: id.to_string(),
            reason: number(REASONS, reason.as_ref()),
        }),
    };
    let wire = WireEntry { kind: Some(kind) };
    let mut bytes = Vec::with_capacity(1 + wire.encoded_len());
    bytes.push(FORMAT);
    // It fails only for want of room, and this grows.
    wire.encode(&mut bytes).ok();
    bytes.into()
}

fn write(notification: &Notification, node: NodeId) -> WireNotification {
    WireNotification {
        node: node.0.to_vec(),
        user: notification.user_id.to_string(),
        kind: notification.kind.to_string(),
        topic: notification.topic.as_ref().map(ToString::to_string),
        payload: notification.payload.as_str().to_owned(),
        created_micros: notification.created_at.as_micros(),
        ttl_millis: notification.ttl.map(Ttl::as_millis),
        age_micros: 0,
        now_or_never: false,
        traceparent: notification.trace.map(|trace| trace.to_string()),
    }
}

pub(super) fn decode(key: LogKey, bytes: &[u8]) -> Result<ClusterEntry, Unreadable> {
    let wire = match bytes.split_first() {
        Some((&FORMAT, rest)) => rest,
        Some(_) => return Err(Unreadable::Newer),
        None => return Err(Unreadable::Damaged("it is empty")),
    };
    let wire = WireEntry::decode(wire).map_err(|_| Unreadable::Damaged("it is no message"))?;
    // Only entries about a notification have a notification's key.
    let of_notification = |id: LogKey| match id {
        LogKey::Notification(id) => Ok(id),
        LogKey::Passing(_) => Err(Unreadable::Damaged("its key is not a notification's")),
    };
    Ok(match wire.kind.ok_or(Unreadable::Newer)? {
        WireKind::Accepted(wire) => ClusterEntry::Accepted {
            origin: node(&wire.node)?,
            notification: read(of_notification(key)?, &wire)?,
            age: Duration::from_micros(wire.age_micros),
            now_or_never: wire.now_or_never,
        },
        WireKind::Promoting(wire) => ClusterEntry::Promoting {
            by: node(&wire.node)?,
            notification: read(of_notification(key)?, &wire)?,
        },
        WireKind::Ended(wire) => {
            of_notification(key)?;
            ClusterEntry::Ended {
                outcome: value(OUTCOMES, wire.outcome),
                by: node(&wire.by)?,
                user: parse(&wire.user, "its user")?,
                kind: parse(&wire.kind, "its kind")?,
                created_at: Timestamp::from_micros(wire.created_micros),
                trace: wire.traceparent.and_then(|trace| trace.parse().ok()),
            }
        }
        WireKind::Barrier(wire) => ClusterEntry::Barrier { by: node(&wire.by)? },
        WireKind::SignedOut(wire) => {
            let token = wire.token.as_slice().try_into();
            let token = token.map_err(|_| Unreadable::Damaged("its token"))?;
            let user = parse(&wire.user, "its user")?;
            ClusterEntry::SignedOut { user, token: TokenHash::new(token) }
        }
        WireKind::Disconnect(wire) => {
            ClusterEntry::Disconnect { user: parse(&wire.user, "its user")? }
        }
        WireKind::Look(wire) => ClusterEntry::Look { user: parse(&wire.user, "its user")? },
        WireKind::Retract(wire) => ClusterEntry::Retract {
            user: parse(&wire.user, "its user")?,
            id: parse(&wire.id, "its id")?,
            reason: value(REASONS, wire.reason),
        },
    })
}

fn read(id: NotificationId, wire: &WireNotification) -> Result<Notification, Unreadable> {
    let ttl = match wire.ttl_millis {
        None => None,
        Some(millis) => {
            let ttl = Ttl::new(Duration::from_millis(millis.into()));
            Some(ttl.ok_or(Unreadable::Damaged("its TTL"))?)
        }
    };
    Ok(Notification {
        id,
        user_id: parse(&wire.user, "its user")?,
        kind: parse(&wire.kind, "its kind")?,
        topic: wire.topic.as_ref().map(|topic| parse(topic, "its topic")).transpose()?,
        payload: Payload::parse(&wire.payload).map_err(|_| Unreadable::Damaged("its payload"))?,
        created_at: Timestamp::from_micros(wire.created_micros),
        ttl,
        trace: wire.traceparent.as_deref().and_then(|text| text.parse().ok()),
    })
}

fn node(bytes: &[u8]) -> Result<NodeId, Unreadable> {
    bytes.try_into().map(NodeId).map_err(|_| Unreadable::Damaged("its node"))
}

fn parse<T: std::str::FromStr>(text: &str, what: &'static str) -> Result<T, Unreadable> {
    text.parse().map_err(|_| Unreadable::Damaged(what))
}

#[cfg(test)]
mod tests;
