use std::time::Duration;

use doorstep_application::{Caller, LetInBy};
use doorstep_domain::{Timestamp, TokenHash, UserId};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::Key;
use super::refusal::TokenRefusal;

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

/// The claims that are looked at (RFC 7519 section 4.1). Times may have fractions.
#[derive(Deserialize)]
struct TokenClaims {
    sub: String,
    exp: f64,
    nbf: Option<f64>,
}

impl Expected {
    /// Judges a token by this key, at this time of day.
    pub(super) fn judge(
        &self,
        token: &str,
        key: &Key,
        now: Timestamp,
    ) -> Result<Caller, TokenRefusal> {
        let claims = self.verified(token, key)?;
        let expires_at = timestamp(claims.exp).ok_or(TokenRefusal::Malformed("exp"))? + self.leeway;
        if now >= expires_at {
            return Err(TokenRefusal::Expired);
        }
        if let Some(not_before) = claims.nbf
            && now + self.leeway < timestamp(not_before).ok_or(TokenRefusal::Malformed("nbf"))?
        {
            return Err(TokenRefusal::NotYet);
        }
        let user_id: UserId = claims.sub.parse().map_err(|_| TokenRefusal::Malformed("sub"))?;
        let session = TokenHash::new(Sha256::digest(token).into());
        Ok(Caller { user_id, session, by: LetInBy::SignedToken, expires_at })
    }

    /// The claims of a token that this key has signed, and that is meant for this node.
    fn verified(&self, token: &str, key: &Key) -> Result<TokenClaims, TokenRefusal> {
        let mut validation = Validation::new(key.algorithm().name());
        // Times are judged by our own clock.
        validation.validate_exp = false;
        // A claim that is checked must also be there: it is not enough that it is not wrong.
        let mut required = vec!["sub", "exp"];
        match &self.issuer {
            Some(issuer) => {
                validation.set_issuer(&[issuer]);
                required.push("iss");
            }
            None => validation.iss = None,
        }
        match &self.audience {
            Some(audience) => {
                validation.set_audience(&[audience]);
                required.push("aud");
            }
            None => validation.validate_aud = false,
        }
        validation.set_required_spec_claims(&required);
        match decode::<TokenClaims>(token, key.decoding(), &validation) {
            Ok(token) => Ok(token.claims),
            Err(error) => Err(match error.into_kind() {
                ErrorKind::InvalidIssuer => TokenRefusal::Issuer,
                ErrorKind::InvalidAudience => TokenRefusal::Audience,
                ErrorKind::MissingRequiredClaim(name) => {
                    let known = ["sub", "exp", "iss", "aud"];
                    let claim = known.into_iter().find(|known| **known == *name);
                    TokenRefusal::Missing(claim.unwrap_or("sub"))
                }
                // Signed, and not as it must be: a claim of another type, or no JSON at all.
                ErrorKind::Json(_) | ErrorKind::Base64(_) | ErrorKind::Utf8(_) => {
                    TokenRefusal::Claims
                }
                // Wrong, or such that it cannot even be looked at.
                _ => TokenRefusal::Signature,
            }),
        }
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
