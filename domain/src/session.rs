use std::fmt;

use crate::{Timestamp, UserId};

/// A signed-in client. Only the token's hash is stored, never the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The token's hash.
    pub token: TokenHash,
    /// The session's user.
    pub user_id: UserId,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// SHA-256 of a session token. A token has 256 random bits, so it needs neither salt nor a slow hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Wraps a digest.
    pub const fn new(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The digest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(..)")
    }
}
