//! JSON Web Tokens (RFC 7519) that a backend signs, as identities.
//!
//! *Invariant:* each key verifies one algorithm, the one that it was configured for. A token's header only chooses
//! among the keys that match it exactly: `none` matches none, and a public key is never used as a secret (RFC 8725
//! sections 2.1 and 3.1).
//!
//! | file | contents |
//! | --- | --- |
//! | `keys` | a key, from a file or from a JWK set |
//! | `jwks` | the keys of a provider, fetched from its URL and kept |
//! | `claims` | the claims that a token must have |
//! | `refusal` | why a token is refused, and the log of it |

mod claims;
mod jwks;
mod keys;
mod refusal;
#[cfg(test)]
mod tests;

use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use doorstep_application::{Authenticator, Caller, LetInBy, NotAuthenticated};
use doorstep_domain::ports::{Clock, StoreError};
use jsonwebtoken::{AlgorithmFamily, Header, decode_header};
use tokio::time::Instant;

pub use self::claims::Expected;
pub use self::jwks::{Jwks, JwksError};
pub use self::keys::{Algorithm, Key, KeyError};
use self::refusal::{Refusals, TokenRefusal};

/// Authenticates a backend's tokens: the user is in `sub`, the expiry in `exp`.
///
/// A token cannot be revoked before it expires, except by removing its key. Tokens should therefore be
/// short-lived.
pub struct Jwts {
    keys: RwLock<Arc<[Key]>>,
    /// The keys of a provider, in addition to the configured ones.
    provider: Option<Jwks>,
    expected: Expected,
    clock: Arc<dyn Clock>,
    refusals: Refusals,
}

impl Jwts {
    /// The longest token that is accepted, in bytes.
    pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

    /// An authenticator with these keys, and with those of a provider if there is one.
    pub fn new(
        keys: Vec<Key>,
        provider: Option<Jwks>,
        expected: Expected,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let refusals = Refusals::new();
        Self { keys: RwLock::new(keys.into()), provider, expected, clock, refusals }
    }

    /// Replaces the configured keys.
    pub fn replace_keys(&self, keys: Vec<Key>) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys.into();
    }

    fn configured(&self) -> Arc<[Key]> {
        Arc::clone(&*self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The caller whose token this is, according to the configured keys or else those of the provider.
    async fn caller(&self, token: &str) -> Result<Result<Caller, TokenRefusal>, NotAuthenticated> {
        let header = match header(token) {
            Ok(header) => header,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let asked = Instant::now();
        // Whether another key could verify the token: the key that it names, or any if it names none.
        let lacks_a_key = |refusal: &TokenRefusal| match refusal {
            TokenRefusal::UnknownKey { .. } => true,
            TokenRefusal::UnknownAlgorithm => header.kid.is_none(),
            _ => false,
        };
        let refusal = match self.by(&self.configured(), token, &header) {
            Err(refusal) if lacks_a_key(&refusal) => refusal,
            judged => return Ok(judged),
        };
        // A symmetric key never comes from a provider, so no fetch helps such a token.
        let symmetric = header.alg.family() == AlgorithmFamily::Hmac;
        let provider = self.provider.as_ref().filter(|_| !symmetric);
        let Some(provider) = provider else { return Ok(Err(refusal)) };
        let judged = self.by(&provider.current().await, token, &header);
        if !judged.as_ref().is_err_and(lacks_a_key) {
            return Ok(judged);
        }
        // The provider may have a newer key.
        Ok(self.by(&provider.newest(asked).await?, token, &header))
    }

    /// Judges a token by the keys that match its header exactly.
    fn by(&self, keys: &[Key], token: &str, header: &Header) -> Result<Caller, TokenRefusal> {
        // With a key id only the key of this id, without one all that match: during a rotation there are two.
        let kid = header.kid.as_deref();
        let mut named = keys.iter().filter(|key| kid.is_none_or(|kid| kid == key.id())).peekable();
        if named.peek().is_none() {
            return Err(TokenRefusal::UnknownKey { kid: header.kid.clone() });
        }
        let mut refusal = TokenRefusal::UnknownAlgorithm;
        for key in named.filter(|key| key.algorithm().is(header.alg)) {
            match self.expected.judge(token, key, self.clock.wall()) {
                // Another key may have signed it.
                Err(TokenRefusal::Signature) if kid.is_none() => {
                    refusal = TokenRefusal::UnknownKey { kid: None };
                }
                Err(TokenRefusal::Signature) => refusal = TokenRefusal::Signature,
                judged => return judged,
            }
        }
        Err(refusal)
    }
}

/// The header of a token.
fn header(token: &str) -> Result<Header, TokenRefusal> {
    if token.len() > Jwts::MAX_TOKEN_BYTES {
        return Err(TokenRefusal::TooLong(token.len()));
    }
    if token.split('.').count() != 3 {
        return Err(TokenRefusal::NotAJwt);
    }
    // Also fails for unknown algorithms, and `none` is one of them.
    let header = decode_header(token).map_err(|_| TokenRefusal::UnknownAlgorithm)?;
    // `crit` requires extensions, and none is supported here (RFC 7515 section 4.1.11).
    if header.crit.is_some() { Err(TokenRefusal::Critical) } else { Ok(header) }
}

#[async_trait]
impl Authenticator for Jwts {
    async fn authenticate(&self, token: &str) -> Result<Option<Caller>, NotAuthenticated> {
        if self.provider.is_none() && self.configured().is_empty() {
            // No tokens are accepted here, so there is no refusal to log.
            return Ok(None);
        }
        match self.caller(token).await? {
            Ok(caller) => Ok(Some(caller)),
            Err(refusal) => {
                self.refusals.log(&refusal, self.clock.now());
                Ok(None)
            }
        }
    }

    /// Only time ends these tokens, and the connection watches the time itself. For callers of other
    /// authenticators it returns false: a session that was signed out has time left, too.
    async fn is_alive(&self, caller: &Caller) -> Result<bool, StoreError> {
        Ok(caller.by == LetInBy::SignedToken && self.clock.wall() < caller.expires_at)
    }
}
