use std::fmt;
use std::str::FromStr;

use crate::{Timestamp, UserId};

/// A user with an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user's id.
    pub id: UserId,
    /// The name they sign in with, as they spelled it.
    pub username: Username,
    /// When they registered.
    pub created_at: Timestamp,
}

/// A user with their password's hash, as the store keeps them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    /// The user.
    pub user: User,
    /// Their password, hashed.
    pub password: PasswordHash,
}

/// A name to sign in with: 3 to 32 ASCII letters, digits, `_`, `-` and `.`. Unique without regard to case, shown
/// as the user spelled it.
///
/// ```
/// use doorstep_domain::Username;
///
/// let name: Username = "Ada".parse()?;
/// assert_eq!((name.as_str(), name.key().as_str()), ("Ada", "ada"));
/// # Ok::<(), doorstep_domain::UsernameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Username(String);

/// The string is not a [`Username`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a username is 3 to 32 ASCII letters, digits, underscores, hyphens and points")]
pub struct UsernameError;

impl Username {
    /// The name as the user spelled it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name in lower case: the same for all spellings of one name.
    pub fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl FromStr for Username {
    type Err = UsernameError;

    fn from_str(text: &str) -> Result<Self, UsernameError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        if (3..=32).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(UsernameError)
        }
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A password's hash with its parameters and salt, as a PHC string. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Wraps a PHC string.
    pub fn new(phc: String) -> Self {
        Self(phc)
    }

    /// The PHC string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}
