use async_trait::async_trait;

use crate::PasswordHash;

/// Hashes passwords: deliberately slow, and outside the async threads.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait PasswordHasher: Send + Sync {
    /// Hashes a password with a fresh salt. Every character of it counts, and its case.
    async fn hash(&self, password: &str) -> Result<PasswordHash, HasherError>;

    /// Whether the password matches the hash. Without a hash (no such user) it takes the same time and returns
    /// false, so that the time does not reveal which users exist.
    async fn verify(&self, password: &str, hash: Option<PasswordHash>)
    -> Result<bool, HasherError>;
}

/// Why a password was not hashed.
#[derive(Debug, thiserror::Error)]
pub enum HasherError {
    /// Too many passwords are being hashed or wait for it. Try again later.
    #[error("too many passwords are being hashed")]
    Busy,
    /// The text in the store is not a password hash.
    #[error("the stored password hash is unreadable: {0}")]
    Unreadable(String),
}
