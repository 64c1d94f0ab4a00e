//! What other backends are let do, and how: `[publish]`, `[keys]`, `[jwt]`, `[webhook]`.

use std::num::NonZeroUsize;

use doorstep_domain::{TokenHash, Ttl};

use super::reader::Reader;
use super::value::{Given, Secret, Span, Value, words};

/// How backends publish, and who their users are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Backends {
    /// The longest TTL that is taken.
    pub(crate) max_ttl: Ttl,
    /// So many published notifications are remembered.
    pub(crate) remember: NonZeroUsize,
    /// The service keys by their names.
    pub(crate) keys: Vec<(String, KeyHash)>,
    pub(crate) jwt: Jwt,
    pub(crate) webhook: Webhook,
}

/// Which tokens are taken for users'.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Jwt {
    pub(crate) issuer: Given,
    pub(crate) audience: Given,
    pub(crate) leeway: Span,
    /// Where a provider publishes its keys, if it does.
    pub(crate) jwks_url: Given,
    pub(crate) keys: Vec<(String, JwtKey)>,
}

/// What verifies tokens. Exactly one of the two places of its material is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JwtKey {
    pub(crate) algorithm: Algorithm,
    pub(crate) key: Secret,
    pub(crate) key_file: Given,
}

words! {
    /// How tokens are signed.
    Algorithm, "HS256, RS256, RS384, RS512, PS256, ES256, ES384 or EdDSA", {
        Hs256 = "HS256",
        Rs256 = "RS256",
        Rs384 = "RS384",
        Rs512 = "RS512",
        Ps256 = "PS256",
        Es256 = "ES256",
        Es384 = "ES384",
        EdDsa = "EdDSA",
    }
}

/// Where outcomes are posted, if anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Webhook {
    pub(crate) url: Secret,
    pub(crate) secret: Secret,
    /// Certificates of whom to trust over TLS, instead of whom the machine trusts.
    pub(crate) ca_file: Given,
}

const REMEMBER: NonZeroUsize = NonZeroUsize::new(1_000_000).unwrap();

impl Backends {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let max_ttl = reader.read(&["publish", "max_ttl"], Ttl::MAX);
        let remember = reader.read(&["publish", "remember"], REMEMBER);
        let mut keys = Vec::new();
        for name in reader.names(&["keys"]) {
            if is_key_name(&name) {
                // Refused where it is no hash; what stands in for it is nobody's.
                let hash = reader.read(&["keys", &name], KeyHash(TokenHash::new([0; 32])));
                keys.push((name, hash));
            } else {
                reader.refuse(format!("keys.{name:?}: a key's name is {KEY_NAME}"));
            }
        }
        Self { max_ttl, remember, keys, jwt: Jwt::read(reader), webhook: Webhook::read(reader) }
    }
}

/// What a name must be, so that every key has an environment form.
pub(crate) const KEY_NAME: &str = "1 to 64 lower-case letters, digits and underscores";

/// Whether a service key may have this name.
pub(crate) fn is_key_name(name: &str) -> bool {
    let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    (1..=64).contains(&name.len()) && name.bytes().all(letter) && !name.contains("__")
}

impl Jwt {
    fn read(reader: &mut Reader) -> Self {
        let issuer = reader.read(&["jwt", "issuer"], Given::default());
        let audience = reader.read(&["jwt", "audience"], Given::default());
        let leeway = reader.read(&["jwt", "leeway"], Span::from_secs(60));
        let jwks_url = reader.read(&["jwt", "jwks_url"], Given::default());
        let mut keys = Vec::new();
        for id in reader.tables(&["jwt", "keys"]) {
            let key = |name| ["jwt", "keys", &id, name];
            let one = JwtKey {
                algorithm: reader.read(&key("algorithm"), Algorithm::Hs256),
                key: reader.read(&key("key"), Secret::default()),
                key_file: reader.read(&key("key_file"), Given::default()),
            };
            if one.key.0.is_empty() == one.key_file.0.is_empty() {
                let which = "give either its key or its key_file";
                reader.refuse(format!("jwt.keys.{id}: {which}"));
            }
            keys.push((id, one));
        }
        Self { issuer, audience, leeway, jwks_url, keys }
    }
}

impl Jwt {
    /// Whether there is a key that could verify a token.
    pub(crate) fn has_keys(&self) -> bool {
        !self.keys.is_empty() || !self.jwks_url.0.is_empty()
    }
}

impl Webhook {
    fn read(reader: &mut Reader) -> Self {
        let url = reader.read(&["webhook", "url"], Secret::default());
        let secret = reader.read(&["webhook", "secret"], Secret::default());
        let ca_file = reader.read(&["webhook", "ca_file"], Given::default());
        Self { url, secret, ca_file }
    }
}

/// A service key's hash, as `doorstep key new` prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyHash(pub(crate) TokenHash);

impl KeyHash {
    const PREFIX: &str = "sha256:";
}

impl Value for KeyHash {
    const EXPECTED: &'static str =
        "\"sha256:\" and 64 hexadecimal digits, as `doorstep key new NAME` prints it";

    fn from_text(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(Self::PREFIX)?.as_bytes();
        let mut hash = [0; 32];
        if digits.len() != 2 * hash.len() {
            return None;
        }
        let value = |digit: u8| char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok());
        for (byte, pair) in hash.iter_mut().zip(digits.chunks(2)) {
            *byte = value(pair[0])? << 4 | value(pair[1])?;
        }
        Some(Self(TokenHash::new(hash)))
    }

    fn to_text(&self) -> String {
        let digits = self.0.as_bytes().iter().map(|byte| format!("{byte:02x}"));
        format!("{}{}", Self::PREFIX, digits.collect::<String>())
    }
}
