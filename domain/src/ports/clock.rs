use crate::Timestamp;

/// The time of day, for those who may not ask for it themselves.
#[cfg_attr(feature = "mocks", mockall::automock)]
pub trait Clock: Send + Sync {
    /// Now. Never earlier than what it answered before: a step of the machine's clock neither ends nor
    /// revives what waits.
    fn now(&self) -> Timestamp;
}
