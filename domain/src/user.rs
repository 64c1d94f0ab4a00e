use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// The id of a user, opaque to everything except its issuer.
///
/// The simulation makes UUIDv7s; a backend may use any UTF-8 string of 1 to [`UserId::MAX_BYTES`] bytes. Cheap to
/// clone, hash and compare: a UUID in its usual spelling (lower case, hyphens) is stored as its 16 bytes, any other
/// string as one shared string. The spelling is preserved.
///
/// ```
/// use doorstep_domain::UserId;
///
/// let theirs: UserId = "customer/42".parse()?;
/// assert_eq!(theirs.to_string(), "customer/42");
/// assert!("".parse::<UserId>().is_err());
/// # Ok::<(), doorstep_domain::UserIdError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(Repr);

/// **Each string has exactly one representation**, as equality and hashing require.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Repr {
    Uuid(Uuid),
    Text(Arc<str>),
}

/// Why a string is not a [`UserId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UserIdError {
    /// It has no characters.
    #[error("a user id must not be empty")]
    Empty,
    /// It has more than [`UserId::MAX_BYTES`] bytes.
    #[error("a user id has at most {} bytes, this one has {size}", UserId::MAX_BYTES, size = .0)]
    TooLong(usize),
}

impl UserId {
    /// The longest id, in bytes of UTF-8.
    pub const MAX_BYTES: usize = 128;

    /// The bytes of the string that is shared between its clones; `None` for a UUID, which has none.
    pub fn text_bytes(&self) -> Option<usize> {
        match &self.0 {
            Repr::Uuid(_) => None,
            Repr::Text(text) => Some(text.len()),
        }
    }
}

impl From<Uuid> for UserId {
    fn from(uuid: Uuid) -> Self {
        Self(Repr::Uuid(uuid))
    }
}

impl FromStr for UserId {
    type Err = UserIdError;

    fn from_str(text: &str) -> Result<Self, UserIdError> {
        match text.len() {
            0 => return Err(UserIdError::Empty),
            n if n > Self::MAX_BYTES => return Err(UserIdError::TooLong(n)),
            _ => {}
        }
        if let Ok(uuid) = Uuid::try_parse(text) {
            let mut usual = Uuid::encode_buffer();
            if uuid.hyphenated().encode_lower(&mut usual) == text {
                return Ok(Self(Repr::Uuid(uuid)));
            }
        }
        Ok(Self(Repr::Text(text.into())))
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Uuid(uuid) => uuid.hyphenated().fmt(f),
            Repr::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserId({self})")
    }
}

impl Serialize for UserId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UserId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_keeps_its_spelling() {
        for text in [
            "0192f0c1-2345-7abc-8def-0123456789ab",
            "0192F0C1-2345-7ABC-8DEF-0123456789AB",
            "0192f0c123457abc8def0123456789ab",
            "zoë",
        ] {
            assert_eq!(text.parse::<UserId>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_uuid_and_its_text_are_the_same_user() {
        let uuid = Uuid::from_u128(7);
        assert_eq!(UserId::from(uuid), uuid.to_string().parse().unwrap());
    }

    #[test]
    fn length_counts_bytes() {
        assert!("é".repeat(64).parse::<UserId>().is_ok());
        assert_eq!("é".repeat(65).parse::<UserId>(), Err(UserIdError::TooLong(130)));
    }
}
