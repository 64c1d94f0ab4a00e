use async_trait::async_trait;

use crate::PasswordHash;

/// Hashes passwords, slowly on purpose and off the async threads.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait PasswordHasher: Send + Sync {
    /// Hashes a password with a fresh salt.
    async fn hash(&self, password: &str) -> Result<PasswordHash, HasherError>;

    /// Whether the password is the one behind the hash. Without a hash (no such user) it takes as long and
    /// says no, so that the time does not tell who exists.
    async fn verify(&self, password: &str, hash: Option<PasswordHash>)
    -> Result<bool, HasherError>;
}

/// Why a password was not hashed.
#[derive(Debug, thiserror::Error)]
pub enum HasherError {
    /// Too many are being hashed or wait for it: try again later.
    #[error("too many passwords are being hashed")]
    Busy,
    /// The hash in the store is not one.
    #[error("the stored password hash is unreadable: {0}")]
    Unreadable(String),
}
