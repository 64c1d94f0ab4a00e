use std::time::Duration;

use doorstep_application::{Caller, LetInBy};
use doorstep_domain::{Timestamp, TokenHash, UserId};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::Key;
use super::refusal::TokenRefusal;

/// The claims that a token must have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// The required `iss`, if any.
    pub issuer: Option<String>,
    /// The required element of `aud`, if any.
    pub audience: Option<String>,
    /// How far the signer's clock and this node's clock may differ.
    pub leeway: Duration,
}

/// The claims that are read (RFC 7519 section 4.1). Times may have fractions.
#[derive(Deserialize)]
struct TokenClaims {
    sub: String,
    exp: f64,
    nbf: Option<f64>,
}

impl Expected {
    /// Judges a token by this key at this time of day.
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

    /// The claims of a token that was signed with this key and is meant for this node.
    fn verified(&self, token: &str, key: &Key) -> Result<TokenClaims, TokenRefusal> {
        let mut validation = Validation::new(key.algorithm().name());
        // The times are checked with our own clock.
        validation.validate_exp = false;
        // A checked claim must also be required: the check passes if the claim is missing.
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
                // Signed, but malformed: a claim of another type, or not JSON at all.
                ErrorKind::Json(_) | ErrorKind::Base64(_) | ErrorKind::Utf8(_) => {
                    TokenRefusal::Claims
                }
                // A wrong signature, or one that cannot be checked.
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
    // In range, as checked above; a fraction of a microsecond does not matter.
    #[expect(clippy::cast_possible_truncation)]
    Some(Timestamp::from_micros((seconds * 1e6) as i64))
}
