use crate::TokenHash;

/// Makes and hashes session tokens.
#[cfg_attr(feature = "mocks", mockall::automock)]
pub trait Tokens: Send + Sync {
    /// Returns a new token of 256 random bits, in URL-safe characters that are also valid in a WebSocket subprotocol:
    /// letters, digits and `-_.~`, at least 43 of them.
    fn mint(&self) -> String;

    /// Returns the hash under which a token is stored: always the same one, and that of no other token.
    fn hash(&self, token: &str) -> TokenHash;
}
