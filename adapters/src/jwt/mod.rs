//! A backend's own JSON Web Tokens (RFC 7519) as identities.
//!
//! *Invariant:* each key verifies one algorithm, the one that it was configured for. What a token's header
//! says is never more than a choice among the keys that fit it exactly: `none` fits none, and a public key is
//! never taken for a secret (RFC 8725 sections 2.1 and 3.1).
//!
//! | file | what |
//! | --- | --- |
//! | `keys` | a key, from a file or from a JWK set |
//! | `jwks` | the keys of a provider, fetched from its URL and kept |
//! | `claims` | what a token must say |
//! | `refusal` | why a token is nobody's, in the log |

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

/// Takes a backend's tokens for what they say: the user in `sub`, until `exp`.
///
/// A token cannot be revoked before it expires, other than by taking its key away; so let them be short.
pub struct Jwts {
    keys: RwLock<Arc<[Key]>>,
    /// The keys of a provider, beside those that are configured.
    provider: Option<Jwks>,
    expected: Expected,
    clock: Arc<dyn Clock>,
    refusals: Refusals,
}

impl Jwts {
    /// The longest token worth looking at, in bytes.
    pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

    /// An authenticator with these keys, and those of a provider if there is one.
    pub fn new(
        keys: Vec<Key>,
        provider: Option<Jwks>,
        expected: Expected,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let refusals = Refusals::new();
        Self { keys: RwLock::new(keys.into()), provider, expected, clock, refusals }
    }

    /// From now on these keys are the configured ones, and no others.
    pub fn replace_keys(&self, keys: Vec<Key>) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys.into();
    }

    fn configured(&self) -> Arc<[Key]> {
        Arc::clone(&*self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whose token this is: by the configured keys, or else by those of the provider.
    async fn caller(&self, token: &str) -> Result<Result<Caller, TokenRefusal>, NotAuthenticated> {
        let header = match header(token) {
            Ok(header) => header,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let asked = Instant::now();
        // Another key could have verified it: the one that it names, or, if it names none, any.
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
        // The provider may have a new key since.
        Ok(self.by(&provider.newest(asked).await?, token, &header))
    }

    /// Judges a token by the keys that fit its header exactly.
    fn by(&self, keys: &[Key], token: &str, header: &Header) -> Result<Caller, TokenRefusal> {
        // With a key id the one that has it, without one all that fit: while keys are rotated, there are two.
        let kid = header.kid.as_deref();
        let mut named = keys.iter().filter(|key| kid.is_none_or(|kid| kid == key.id())).peekable();
        if named.peek().is_none() {
            return Err(TokenRefusal::UnknownKey { kid: header.kid.clone() });
        }
        let mut refusal = TokenRefusal::UnknownAlgorithm;
        for key in named.filter(|key| key.algorithm().is(header.alg)) {
            match self.expected.judge(token, key, self.clock.wall()) {
                // Another one may have signed it.
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

/// The header of what may be a token.
fn header(token: &str) -> Result<Header, TokenRefusal> {
    if token.len() > Jwts::MAX_TOKEN_BYTES {
        return Err(TokenRefusal::TooLong(token.len()));
    }
    if token.split('.').count() != 3 {
        return Err(TokenRefusal::NotAJwt);
    }
    // Fails also for an algorithm that is not known, and `none` is not.
    let header = decode_header(token).map_err(|_| TokenRefusal::UnknownAlgorithm)?;
    // `crit` asks for something to be understood that is not (RFC 7515 section 4.1.11).
    if header.crit.is_some() { Err(TokenRefusal::Critical) } else { Ok(header) }
}

#[async_trait]
impl Authenticator for Jwts {
    async fn authenticate(&self, token: &str) -> Result<Option<Caller>, NotAuthenticated> {
        if self.provider.is_none() && self.configured().is_empty() {
            // No tokens are taken here, so none is refused either.
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

    /// Nothing but time ends a token of theirs, and the connection keeps the time itself. About others it
    /// knows nothing: a session that was signed out has time left, too.
    async fn is_alive(&self, caller: &Caller) -> Result<bool, StoreError> {
        Ok(caller.by == LetInBy::SignedToken && self.clock.wall() < caller.expires_at)
    }
}
