//! A backend's own JSON Web Tokens (RFC 7519) as identities.
//!
//! *Invariant:* each key verifies one algorithm, the one that it was configured for. What a token's header
//! says is never more than a choice among the keys that fit it exactly: `none` fits none, and a public key is
//! never taken for a secret (RFC 8725 sections 2.1 and 3.1).

mod keys;
#[cfg(test)]
mod tests;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use doorstep_application::{Authenticator, Caller, LetInBy};
use doorstep_domain::ports::{Clock, StoreError};
use doorstep_domain::{Timestamp, TokenHash, UserId};
use jsonwebtoken::{Validation, decode, decode_header};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

pub use keys::{Algorithm, Key, KeyError};

/// What a token must say to be let in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// Its `iss`, if it must have one.
    pub issuer: Option<String>,
    /// One of its `aud`, if it must have one.
    pub audience: Option<String>,
    /// So much may the clocks of whoever signs and of this node differ.
    pub leeway: Duration,
}

/// Takes a backend's tokens for what they say: the user in `sub`, until `exp`.
///
/// A token cannot be revoked before it expires, other than by taking its key away; so let them be short.
pub struct Jwts {
    keys: RwLock<Arc<[Key]>>,
    expected: Expected,
    clock: Arc<dyn Clock>,
}

/// The claims that are looked at (RFC 7519 section 4.1). Times may have fractions.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: f64,
    nbf: Option<f64>,
}

impl Jwts {
    /// The longest token worth looking at, in bytes.
    const MAX_TOKEN_BYTES: usize = 4096;

    /// An authenticator with these keys.
    pub fn new(keys: Vec<Key>, expected: Expected, clock: Arc<dyn Clock>) -> Self {
        Self { keys: RwLock::new(keys.into()), expected, clock }
    }

    /// From now on these keys, and no others.
    pub fn replace_keys(&self, keys: Vec<Key>) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys.into();
    }

    fn caller(&self, token: &str) -> Option<Caller> {
        if token.len() > Self::MAX_TOKEN_BYTES {
            return None;
        }
        // Fails for an algorithm that is not known, and `none` is not.
        let header = decode_header(token).ok()?;
        if header.crit.is_some() {
            // It asks for something to be understood that is not (RFC 7515 section 4.1.11).
            return None;
        }
        let keys = Arc::clone(&*self.keys.read().unwrap_or_else(PoisonError::into_inner));
        // With a key id the one that has it, without one all that fit: while keys are rotated, there are two.
        let named = |key: &&Key| header.kid.as_deref().is_none_or(|kid| kid == key.id());
        let mut fitting = keys.iter().filter(|key| key.algorithm().is(header.alg)).filter(named);
        let claims = fitting.find_map(|key| self.verified(token, key))?;
        self.judge(token, &claims)
    }

    fn verified(&self, token: &str, key: &Key) -> Option<Claims> {
        let mut validation = Validation::new(key.algorithm().name());
        // Times are judged by our own clock, below.
        validation.validate_exp = false;
        // A claim that is checked must also be there: it is not enough that it is not wrong.
        let mut required = vec!["sub", "exp"];
        match &self.expected.issuer {
            Some(issuer) => {
                validation.set_issuer(&[issuer]);
                required.push("iss");
            }
            None => validation.iss = None,
        }
        match &self.expected.audience {
            Some(audience) => {
                validation.set_audience(&[audience]);
                required.push("aud");
            }
            None => validation.validate_aud = false,
        }
        validation.set_required_spec_claims(&required);
        decode::<Claims>(token, key.decoding(), &validation).ok().map(|token| token.claims)
    }

    fn judge(&self, token: &str, claims: &Claims) -> Option<Caller> {
        let now = self.clock.wall();
        let expires_at = timestamp(claims.exp)? + self.expected.leeway;
        if now >= expires_at {
            return None;
        }
        if let Some(not_before) = claims.nbf
            && now + self.expected.leeway < timestamp(not_before)?
        {
            return None;
        }
        let user_id: UserId = claims.sub.parse().ok()?;
        let session = TokenHash::new(Sha256::digest(token).into());
        Some(Caller { user_id, session, by: LetInBy::SignedToken, expires_at })
    }
}

/// A `NumericDate`: seconds since the epoch, up to the year 9999.
fn timestamp(seconds: f64) -> Option<Timestamp> {
    const YEAR_10000: f64 = 253_402_300_800.0;
    if !(0.0..YEAR_10000).contains(&seconds) {
        return None;
    }
    // In range, as has just been looked at; a fraction of a microsecond does not matter.
    #[expect(clippy::cast_possible_truncation)]
    Some(Timestamp::from_micros((seconds * 1e6) as i64))
}

#[async_trait]
impl Authenticator for Jwts {
    async fn authenticate(&self, token: &str) -> Result<Option<Caller>, StoreError> {
        Ok(self.caller(token))
    }

    /// Nothing but time ends a token of theirs, and the connection keeps the time itself. About others it
    /// knows nothing: a session that was signed out has time left, too.
    async fn is_alive(&self, caller: &Caller) -> Result<bool, StoreError> {
        Ok(caller.by == LetInBy::SignedToken && self.clock.wall() < caller.expires_at)
    }
}
