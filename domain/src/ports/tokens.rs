use crate::TokenHash;

/// Makes session tokens and recognises them by their hash.
#[cfg_attr(feature = "mocks", mockall::automock)]
pub trait Tokens: Send + Sync {
    /// A new token of 256 random bits, in URL-safe characters that also fit a WebSocket subprotocol.
    fn mint(&self) -> String;

    /// The hash under which a token is kept.
    fn hash(&self, token: &str) -> TokenHash;
}
