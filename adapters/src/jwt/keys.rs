use std::fmt;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::jwk::{EllipticCurveKeyParameters, KeyOperations, OctetKeyPairParameters};
use jsonwebtoken::{Algorithm as Name, DecodingKey, DecodingKeyKind};

/// The algorithms that tokens may be signed with (RFC 7518 section 3.1, RFC 8037 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-256: one secret signs and verifies.
    Hs256,
    /// RSA (PKCS #1) with SHA-256.
    Rs256,
    /// RSA (PKCS #1) with SHA-384.
    Rs384,
    /// RSA (PKCS #1) with SHA-512.
    Rs512,
    /// RSA (PSS) with SHA-256.
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    pub(super) fn name(self) -> Name {
        match self {
            Self::Hs256 => Name::HS256,
            Self::Rs256 => Name::RS256,
            Self::Rs384 => Name::RS384,
            Self::Rs512 => Name::RS512,
            Self::Ps256 => Name::PS256,
            Self::Es256 => Name::ES256,
            Self::Es384 => Name::ES384,
            Self::EdDsa => Name::EdDSA,
        }
    }

    pub(super) fn is(self, name: Name) -> bool {
        self.name() == name
    }

    fn of(name: KeyAlgorithm) -> Option<Self> {
        Some(match name {
            KeyAlgorithm::RS256 => Self::Rs256,
            KeyAlgorithm::RS384 => Self::Rs384,
            KeyAlgorithm::RS512 => Self::Rs512,
            KeyAlgorithm::PS256 => Self::Ps256,
            KeyAlgorithm::ES256 => Self::Es256,
            KeyAlgorithm::ES384 => Self::Es384,
            KeyAlgorithm::EdDSA => Self::EdDsa,
            _ => return None,
        })
    }
}

/// A key that verifies tokens of one algorithm.
pub struct Key {
    id: String,
    algorithm: Algorithm,
    decoding: DecodingKey,
}

/// Why a key is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// RFC 7518 section 3.2 requires as many bits as the hash has.
    #[error("a secret for HS256 has at least {} bytes, this one has {size}", Key::MIN_SECRET_BYTES, size = .0)]
    SecretTooShort(usize),
    /// A PEM file was given as a secret: anybody who knows a public key could sign with it.
    #[error("this is a PEM file, not a secret: name the algorithm that it belongs to")]
    PemAsSecret,
    /// The file is not a public key of this algorithm.
    #[error(
        "this is not a public key for {0:?} in PEM, which begins with -----BEGIN PUBLIC KEY-----"
    )]
    NotAPublicKey(Algorithm),
}

/// Why a key of a JWK set is not used. Its fault does not affect the other keys of the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum JwkError {
    #[error("a symmetric key must not be public")]
    Symmetric,
    #[error("its use is not the verification of signatures")]
    Use,
    #[error("it is for no supported algorithm")]
    Algorithm,
    #[error("it is malformed, or too small")]
    Malformed,
}

impl Key {
    /// The shortest secret.
    pub const MIN_SECRET_BYTES: usize = 32;

    /// A key with this id: for HS256 the secret itself, for the others the public key in PEM.
    pub fn new(id: &str, algorithm: Algorithm, material: &[u8]) -> Result<Self, KeyError> {
        let not_a_public_key = KeyError::NotAPublicKey(algorithm);
        let decoding = match algorithm {
            Algorithm::Hs256 if contains(material, b"-----BEGIN ") => {
                return Err(KeyError::PemAsSecret);
            }
            Algorithm::Hs256 if material.len() < Self::MIN_SECRET_BYTES => {
                return Err(KeyError::SecretTooShort(material.len()));
            }
            Algorithm::Hs256 => Ok(DecodingKey::from_secret(material)),
            // A private key would work too, but must not lie around on a node that only verifies.
            _ if contains(material, b"PRIVATE KEY") => return Err(not_a_public_key),
            Algorithm::Rs256 | Algorithm::Rs384 | Algorithm::Rs512 | Algorithm::Ps256 => {
                DecodingKey::from_rsa_pem(material)
            }
            Algorithm::Es256 | Algorithm::Es384 => DecodingKey::from_ec_pem(material),
            Algorithm::EdDsa => DecodingKey::from_ed_pem(material),
        };
        let decoding = decoding.map_err(|_| not_a_public_key.clone())?;
        if !has_size_for(&decoding, algorithm) {
            return Err(not_a_public_key);
        }
        Ok(Self { id: id.to_owned(), algorithm, decoding })
    }

    /// Reads an element of a JWK set (RFC 7517). Without an `alg`, the key is for the usual algorithm of its type.
    pub(super) fn from_jwk(jwk: &Jwk) -> Result<Self, JwkError> {
        if matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_)) {
            return Err(JwkError::Symmetric);
        }
        let common = &jwk.common;
        let verifies = common.public_key_use.as_ref().is_none_or(|u| *u == PublicKeyUse::Signature)
            && common
                .key_operations
                .as_ref()
                .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        if !verifies {
            return Err(JwkError::Use);
        }
        let usual = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Algorithm::Rs256,
            AlgorithmParameters::EllipticCurve(EllipticCurveKeyParameters {
                curve: EllipticCurve::P256,
                ..
            }) => Algorithm::Es256,
            AlgorithmParameters::EllipticCurve(EllipticCurveKeyParameters {
                curve: EllipticCurve::P384,
                ..
            }) => Algorithm::Es384,
            AlgorithmParameters::OctetKeyPair(OctetKeyPairParameters {
                curve: EllipticCurve::Ed25519,
                ..
            }) => Algorithm::EdDsa,
            _ => return Err(JwkError::Algorithm),
        };
        let algorithm = match common.key_algorithm {
            None => usual,
            Some(name) => Algorithm::of(name).ok_or(JwkError::Algorithm)?,
        };
        if algorithm.name().family() != usual.name().family() {
            return Err(JwkError::Algorithm);
        }
        let decoding = DecodingKey::from_jwk(jwk).map_err(|_| JwkError::Malformed)?;
        if !has_size_for(&decoding, algorithm) {
            return Err(JwkError::Malformed);
        }
        Ok(Self { id: common.key_id.clone().unwrap_or_default(), algorithm, decoding })
    }

    /// The id by which tokens name the key, in `kid`.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) fn decoding(&self) -> &DecodingKey {
        &self.decoding
    }
}

/// Whether a key has the size for its algorithm: exactly the size of an elliptic curve's point, or at least that
/// of an RSA modulus (RFC 7518 sections 3.3 and 3.5).
fn has_size_for(decoding: &DecodingKey, algorithm: Algorithm) -> bool {
    const RSA_BYTES: usize = 2048 / 8;
    match (algorithm, decoding.kind()) {
        (Algorithm::Es256, DecodingKeyKind::SecretOrDer(point)) => point.len() == 1 + 2 * 32,
        (Algorithm::Es384, DecodingKeyKind::SecretOrDer(point)) => point.len() == 1 + 2 * 48,
        (Algorithm::EdDsa, DecodingKeyKind::SecretOrDer(point)) => point.len() == 32,
        (_, DecodingKeyKind::RsaModulusExponent { n, .. }) => n.len() >= RSA_BYTES,
        // A secret, whose length was checked before, or RSA in DER: a modulus with a few bytes around it.
        (_, DecodingKeyKind::SecretOrDer(_)) => true,
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

impl fmt::Debug for Key {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}
