use crate::{TokenHash, UserId};

/// Counts and ends the connections of one user, for backends that ask for it.
#[cfg_attr(feature = "mocks", mockall::automock)]
pub trait ConnectionControl: Send + Sync {
    /// Returns how many live connections the user has.
    fn count_of(&self, user: &UserId) -> usize;

    /// Ends all connections of the user, and returns how many. Their clients do not come back by themselves.
    fn disconnect(&self, user: &UserId) -> usize;

    /// Ends the connections of this session of the user.
    fn end_session(&self, user: &UserId, session: &TokenHash);
}
