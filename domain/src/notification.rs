use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::{IdError, Timestamp, TraceParent, Ttl, UserId};

/// A message for one user, to be delivered now or within its TTL.
///
/// A clone is cheap: it counts references and copies no text.
///
/// ```
/// use doorstep_domain::{Notification, NotificationId, Payload, Timestamp, Ttl, Uuid};
///
/// let (id, now) = (NotificationId::new(Uuid::from_u128(1)), Timestamp::default());
/// let text = Payload::new("the order is on its way")?;
/// let sent = Notification::new(id, "ada".parse()?, "order.sent".parse()?, text, now)
///     .with_ttl(Ttl::from_secs(60))
///     .with_topic("order/7".parse()?);
/// assert_eq!(sent.topic.map(|topic| topic.to_string()).as_deref(), Some("order/7"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// With the feature `ids`, `NotificationId::now_v7` makes the id.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Notification {
    /// Unique. A client that receives the same id twice drops the second (as with MQTT QoS 1).
    pub id: NotificationId,
    /// The user whom it is for.
    pub user_id: UserId,
    /// What happened; selects the delivery rule.
    pub kind: Kind,
    /// It replaces a waiting notification of the same user and topic (RFC 8030 section 5.4).
    pub topic: Option<Topic>,
    /// What the client shows.
    pub payload: Payload,
    /// When it was created, as time of day. The TTL counts from here.
    pub created_at: Timestamp,
    /// How long it may wait; `None` uses the rule of its kind.
    pub ttl: Option<Ttl>,
    /// The trace that it belongs to.
    pub trace: Option<TraceParent>,
}

impl Notification {
    /// A notification without topic, TTL and trace. `created_at` is the time of day:
    /// [`Clock::wall`](crate::ports::Clock::wall).
    pub const fn new(
        id: NotificationId,
        user_id: UserId,
        kind: Kind,
        payload: Payload,
        created_at: Timestamp,
    ) -> Self {
        Self { id, user_id, kind, topic: None, payload, created_at, ttl: None, trace: None }
    }

    /// Replaces a waiting notification of the same user and topic.
    #[must_use]
    pub fn with_topic(self, topic: Topic) -> Self {
        Self { topic: Some(topic), ..self }
    }

    /// Waits this long, in place of the TTL in the rule of its kind.
    #[must_use]
    pub fn with_ttl(self, ttl: Ttl) -> Self {
        Self { ttl: Some(ttl), ..self }
    }

    /// Belongs to this trace.
    #[must_use]
    pub fn with_trace(self, trace: TraceParent) -> Self {
        Self { trace: Some(trace), ..self }
    }
}

/// The id of a notification. The simulation makes UUIDv7s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NotificationId(Uuid);

impl NotificationId {
    /// Wraps a UUID.
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// Makes a new id: a UUIDv7, ordered after those that this process made before.
    #[cfg(feature = "ids")]
    pub fn now_v7() -> Self {
        Self(Uuid::now_v7())
    }

    /// The UUID inside.
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for NotificationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for NotificationId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Uuid::try_parse(text).map(Self).map_err(|_| IdError)
    }
}

/// A string of 1 to `MAX_BYTES` bytes drawn from a set of bytes, shared between its clones.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $error:ident, $max:literal, $allowed:expr, $says:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        #[doc = concat!("The string is not a [`", stringify!($name), "`].")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
        #[error($says)]
        pub struct $error;

        impl $name {
            /// The maximum length, in bytes.
            pub const MAX_BYTES: usize = $max;

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, $error> {
                let fits = (1..=Self::MAX_BYTES).contains(&text.len());
                let allowed: fn(u8) -> bool = $allowed;
                if fits && text.bytes().all(allowed) { Ok(Self(text.into())) } else { Err($error) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name! {
    /// What happened, in one or two words joined by points: `welcome`, `reward.granted`. The set of kinds is open:
    /// a new one needs no change to delivery. ASCII letters, digits, `.`, `_` and `-`, at most 64 bytes.
    Kind, KindError, 64,
    |b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'),
    "a kind is 1 to 64 ASCII letters, digits, points, underscores and hyphens"
}

name! {
    /// The topic of a notification: a newer notification replaces a waiting one of the same topic (RFC 8030
    /// section 5.4). Printable ASCII, at most 64 bytes.
    Topic, TopicError, 64,
    |b| b.is_ascii_graphic(),
    "a topic is 1 to 64 printable ASCII characters without spaces"
}

/// A JSON value, stored as text. It is serialised once and never parsed again on its way to the socket.
///
/// ```
/// use doorstep_domain::Payload;
///
/// let payload = Payload::new(&["any", "serde", "value"])?;
/// assert_eq!(payload.as_str(), r#"["any","serde","value"]"#);
/// assert!(Payload::parse("{not json").is_err());
/// # Ok::<(), doorstep_domain::PayloadError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(Arc<str>);

/// Why a value cannot be a [`Payload`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// Larger than [`Payload::MAX_BYTES`].
    #[error("a payload has at most {} bytes of JSON, this one has {size}", Payload::MAX_BYTES, size = .0)]
    TooLarge(usize),
    /// Nested deeper than [`Payload::MAX_DEPTH`].
    #[error("a payload is nested at most {} levels deep", Payload::MAX_DEPTH)]
    TooDeep,
    /// Not JSON, or a value that has no JSON form.
    #[error("the payload is not JSON: {0}")]
    NotJson(String),
}

impl Payload {
    /// The maximum size, in bytes of JSON text: 32 KiB.
    pub const MAX_BYTES: usize = 32 * 1024;
    /// How deep arrays and objects may be nested. Many parsers refuse more.
    pub const MAX_DEPTH: usize = 128;

    /// Serialises a value as JSON.
    pub fn new<T: Serialize + ?Sized>(value: &T) -> Result<Self, PayloadError> {
        let text =
            serde_json::to_string(value).map_err(|e| PayloadError::NotJson(e.to_string()))?;
        Self::sized(text)
    }

    /// `null`.
    pub fn null() -> Self {
        Self("null".into())
    }

    /// Checks JSON text and stores it unchanged.
    pub fn parse(text: &str) -> Result<Self, PayloadError> {
        // The size first, so that a text that is too large is not parsed.
        let payload = Self::sized(text)?;
        serde_json::from_str::<serde::de::IgnoredAny>(text)
            .map_err(|e| PayloadError::NotJson(e.to_string()))?;
        Ok(payload)
    }

    fn sized(text: impl Into<Arc<str>> + AsRef<str>) -> Result<Self, PayloadError> {
        match text.as_ref().len() {
            n if n > Self::MAX_BYTES => Err(PayloadError::TooLarge(n)),
            _ if is_too_deep(text.as_ref()) => Err(PayloadError::TooDeep),
            _ => Ok(Self(text.into())),
        }
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_too_deep(json: &str) -> bool {
    // Counting is quick, and few payloads have so many brackets.
    let opening = json.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count();
    opening > Payload::MAX_DEPTH && depth(json) > Payload::MAX_DEPTH
}

/// The maximum nesting depth of arrays and objects.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_topics_accept_only_their_characters() {
        assert!("position.closed".parse::<Kind>().is_ok());
        for bad in ["", "two words", "naïve", &"k".repeat(65)] {
            assert_eq!(bad.parse::<Kind>(), Err(KindError), "{bad:?}");
        }
        assert!("order/7".parse::<Topic>().is_ok());
        assert_eq!("a b".parse::<Topic>(), Err(TopicError));
    }

    #[test]
    fn a_payload_is_nested_at_most_128_deep() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Payload::parse(&nested(128)).is_ok());
        assert_eq!(Payload::parse(&nested(129)), Err(PayloadError::TooDeep));
        assert_eq!(Payload::parse(&nested(10_000)), Err(PayloadError::TooDeep));
        // Siblings, and brackets in a string, are not nested.
        assert!(Payload::parse(&format!("[{}[]]", "[],".repeat(500))).is_ok());
        assert!(Payload::parse(&format!(r#"["\"{}"]"#, "[".repeat(500))).is_ok());
    }

    #[test]
    fn a_payload_is_at_most_32_kib() {
        let fits = "x".repeat(Payload::MAX_BYTES - 2);
        assert!(Payload::new(&fits).is_ok());
        let over = "x".repeat(Payload::MAX_BYTES - 1);
        assert_eq!(Payload::new(&over), Err(PayloadError::TooLarge(Payload::MAX_BYTES + 1)));
    }
}
