//! The serialised forms of a notification's parts, for the feature `serde`. Each is read with the checks of its
//! constructor.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Payload, Timestamp, TraceParent, Ttl};

/// As microseconds since the Unix epoch.
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.as_micros())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        i64::deserialize(deserializer).map(Self::from_micros)
    }
}

/// As milliseconds.
impl Serialize for Ttl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.as_millis())
    }
}

impl<'de> Deserialize<'de> for Ttl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let millis = u32::deserialize(deserializer)?;
        let ttl = Self::new(std::time::Duration::from_millis(millis.into()));
        ttl.ok_or_else(|| D::Error::custom("a TTL is at most 24 hours"))
    }
}

/// As a string that contains the JSON text, so that every format can hold it, and no byte of it changes.
impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// As its text.
impl Serialize for TraceParent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TraceParent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use crate::{Notification, NotificationId, Payload, Timestamp, Ttl};

    #[test]
    fn a_notification_is_read_as_it_was_written() {
        let bare = Notification::new(
            NotificationId::new(Uuid::from_u128(7)),
            "ada".parse().unwrap(),
            "order.sent".parse().unwrap(),
            Payload::parse(r#"{ "spaces":  "stay" }"#).unwrap(),
            Timestamp::from_micros(1_795_000_000_123_456),
        );
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap();
        let full = bare.clone().with_ttl(Ttl::from_secs(60)).with_trace(trace);
        for one in [bare, full.with_topic("order/7".parse().unwrap())] {
            let text = serde_json::to_string(&one).unwrap();
            assert_eq!(serde_json::from_str::<Notification>(&text).unwrap(), one, "{text}");
        }
    }

    #[test]
    fn what_a_constructor_refuses_is_not_read() {
        assert!(serde_json::from_str::<Ttl>("86400001").is_err());
        assert!(serde_json::from_str::<Payload>(r#""{not json""#).is_err());
    }
}
