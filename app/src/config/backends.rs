//! The settings for other backends: `[publish]`, `[keys]`, `[jwt]`, `[webhook]`.

use std::num::NonZeroUsize;

use doorstep_domain::{TokenHash, Ttl};

use super::layers::SettingKey;
use super::quoted::quoted;
use super::reader::SettingReader;
use super::value::{OptionalText, SecretText, SettingValue, Shape, Span, words};

/// How backends publish, and how their users are recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BackendsConfig {
    /// The longest TTL of a published notification.
    pub(crate) max_ttl: Ttl,
    /// How many published notifications are remembered.
    pub(crate) remember: NonZeroUsize,
    /// The hashes of the service keys, by name.
    pub(crate) keys: Vec<(String, KeyHash)>,
    pub(crate) jwt: JwtConfig,
    pub(crate) webhook: WebhookConfig,
}

/// Which tokens identify users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JwtConfig {
    pub(crate) issuer: OptionalText,
    pub(crate) audience: OptionalText,
    pub(crate) leeway: Span,
    /// Where an identity provider publishes its keys.
    pub(crate) jwks_url: OptionalText,
    pub(crate) keys: Vec<(String, JwtKey)>,
}

/// A key that verifies tokens. Either `key` or `key_file` is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JwtKey {
    pub(crate) algorithm: AlgorithmChoice,
    pub(crate) key: SecretText,
    pub(crate) key_file: OptionalText,
}

words! {
    /// The algorithm with which tokens are signed.
    AlgorithmChoice, "HS256, RS256, RS384, RS512, PS256, ES256, ES384 or EdDSA", {
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

/// Where outcomes are posted. Empty: nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WebhookConfig {
    pub(crate) url: SecretText,
    pub(crate) secret: SecretText,
    /// Certificates of the authorities to trust over TLS, instead of the machine's.
    pub(crate) ca_file: OptionalText,
}

const REMEMBER: NonZeroUsize = NonZeroUsize::new(1_000_000).unwrap();

impl BackendsConfig {
    pub(super) fn read(reader: &mut SettingReader) -> Self {
        let max_ttl = reader.read(&["publish", "max_ttl"], Ttl::MAX);
        let remember = reader.read(&["publish", "remember"], REMEMBER);
        let mut keys = Vec::new();
        for name in reader.names(&["keys"]) {
            if is_key_name(&name) {
                // A value that is not a hash is refused. The placeholder is the hash of no key.
                let hash = reader.read(&["keys", &name], KeyHash(TokenHash::new([0; 32])));
                keys.push((name, hash));
            } else {
                reader.refuse(format!("keys.{}: a key's name is {KEY_NAME}", quoted(&name)));
            }
        }
        Self {
            max_ttl,
            remember,
            keys,
            jwt: JwtConfig::read(reader),
            webhook: WebhookConfig::read(reader),
        }
    }
}

/// The form of a service key's name, so that each has an environment form.
pub(crate) const KEY_NAME: &str = "1 to 64 lower-case letters, digits and underscores";

/// Whether a service key may have this name.
pub(crate) fn is_key_name(name: &str) -> bool {
    let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    (1..=64).contains(&name.len()) && name.bytes().all(letter) && !name.contains("__")
}

impl JwtConfig {
    fn read(reader: &mut SettingReader) -> Self {
        let issuer = reader.read(&["jwt", "issuer"], OptionalText::default());
        let audience = reader.read(&["jwt", "audience"], OptionalText::default());
        let leeway = reader.read(&["jwt", "leeway"], Span::from_secs(60));
        let jwks_url = reader.read(&["jwt", "jwks_url"], OptionalText::default());
        let mut keys = Vec::new();
        for id in reader.tables(&["jwt", "keys"]) {
            let key = |name| ["jwt", "keys", &id, name];
            let one = JwtKey {
                algorithm: reader.read(&key("algorithm"), AlgorithmChoice::Hs256),
                key: reader.read(&key("key"), SecretText::default()),
                key_file: reader.read(&key("key_file"), OptionalText::default()),
            };
            if one.key.0.is_empty() == one.key_file.0.is_empty() {
                let which = "give either its key or its key_file";
                reader.refuse(format!("{}: {which}", SettingKey::new(&["jwt", "keys", &id])));
            }
            keys.push((id, one));
        }
        Self { issuer, audience, leeway, jwks_url, keys }
    }
}

impl JwtConfig {
    /// Whether any key could verify a token.
    pub(crate) fn has_keys(&self) -> bool {
        !self.keys.is_empty() || !self.jwks_url.0.is_empty()
    }
}

impl WebhookConfig {
    fn read(reader: &mut SettingReader) -> Self {
        let url = reader.read(&["webhook", "url"], SecretText::default());
        let secret = reader.read(&["webhook", "secret"], SecretText::default());
        let ca_file = reader.read(&["webhook", "ca_file"], OptionalText::default());
        Self { url, secret, ca_file }
    }
}

/// A service key's hash, as `doorstep key new` prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyHash(pub(crate) TokenHash);

impl KeyHash {
    const PREFIX: &str = "sha256:";
}

impl SettingValue for KeyHash {
    const EXPECTED: &'static str =
        "\"sha256:\" and 64 hexadecimal digits, as `doorstep key new NAME` prints it";
    const SHAPE: Shape = Shape::Pattern("^sha256:[0-9a-fA-F]{64}$");

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
