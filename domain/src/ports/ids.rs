use uuid::Uuid;

/// Names for new things.
#[cfg_attr(feature = "mocks", mockall::automock)]
pub trait Ids: Send + Sync {
    /// A UUIDv7 (RFC 9562) that was never handed out before, ordered after those that were.
    fn next(&self) -> Uuid;
}
