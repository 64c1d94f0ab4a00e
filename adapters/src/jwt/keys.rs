use std::fmt;

use jsonwebtoken::{Algorithm as Name, DecodingKey};

/// The algorithms that tokens may be signed with (RFC 7518 section 3.1, RFC 8037 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-256: one secret signs and verifies.
    Hs256,
    /// RSA with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    pub(super) fn name(self) -> Name {
        match self {
            Self::Hs256 => Name::HS256,
            Self::Rs256 => Name::RS256,
            Self::Es256 => Name::ES256,
            Self::EdDsa => Name::EdDSA,
        }
    }

    pub(super) fn is(self, name: Name) -> bool {
        self.name() == name
    }
}

/// What verifies tokens of one algorithm.
pub struct Key {
    id: String,
    algorithm: Algorithm,
    decoding: DecodingKey,
}

/// Why something is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// RFC 7518 section 3.2 asks for as many bits as the hash has.
    #[error("a secret for HS256 has at least {} bytes, this one has {size}", Key::MIN_SECRET_BYTES, size = .0)]
    SecretTooShort(usize),
    /// What looks like half of a key pair was given as a secret: whoever knows the public half could sign.
    #[error("this is a PEM file, not a secret: name the algorithm that it belongs to")]
    PemAsSecret,
    /// Not the public key of that algorithm.
    #[error("this is no public key for {0:?} in PEM: it begins with -----BEGIN PUBLIC KEY-----")]
    NotAPublicKey(Algorithm),
}

impl Key {
    /// The shortest secret.
    pub const MIN_SECRET_BYTES: usize = 32;

    /// A key of this id: for HS256 the secret as it is, for the others the public key in PEM.
    pub fn new(id: &str, algorithm: Algorithm, material: &[u8]) -> Result<Self, KeyError> {
        let decoding = match algorithm {
            Algorithm::Hs256 if contains(material, b"-----BEGIN ") => {
                return Err(KeyError::PemAsSecret);
            }
            Algorithm::Hs256 if material.len() < Self::MIN_SECRET_BYTES => {
                return Err(KeyError::SecretTooShort(material.len()));
            }
            Algorithm::Hs256 => Ok(DecodingKey::from_secret(material)),
            // A private key would do as well, and must not lie about on a node that only verifies.
            _ if contains(material, b"PRIVATE KEY") => {
                return Err(KeyError::NotAPublicKey(algorithm));
            }
            Algorithm::Rs256 => DecodingKey::from_rsa_pem(material),
            Algorithm::Es256 => DecodingKey::from_ec_pem(material),
            Algorithm::EdDsa => DecodingKey::from_ed_pem(material),
        };
        let decoding = decoding.map_err(|_| KeyError::NotAPublicKey(algorithm))?;
        Ok(Self { id: id.to_owned(), algorithm, decoding })
    }

    /// By which tokens name it, in `kid`.
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

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

impl fmt::Debug for Key {
    /// Never the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}
