use uuid::Uuid;

/// Makes ids.
#[cfg_attr(feature = "mocks", mockall::automock)]
pub trait Ids: Send + Sync {
    /// Returns a new UUIDv7 (RFC 9562), ordered after all that it returned before. Calls at the same time get different
    /// ids.
    fn next(&self) -> Uuid;
}
