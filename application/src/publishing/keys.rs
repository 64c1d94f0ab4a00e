use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use doorstep_domain::TokenHash;
use doorstep_domain::ports::Tokens;

/// The names of the valid service keys, by the keys' hashes.
pub type KeyRing = HashMap<TokenHash, Arc<str>>;

/// The service keys that may publish. The ring can be replaced at any time: from then on, a key that is not in
/// the new one is refused.
pub struct ServiceKeys {
    tokens: Arc<dyn Tokens>,
    ring: RwLock<KeyRing>,
}

opaque!(ServiceKeys);

impl ServiceKeys {
    /// The prefix of every key. It tells a key from a user's token, and secret scanners can search for it.
    pub const PREFIX: &str = "dsk_";

    /// Accepts the keys of this ring.
    pub fn new(tokens: Arc<dyn Tokens>, ring: KeyRing) -> Self {
        Self { tokens, ring: RwLock::new(ring) }
    }

    /// Makes a new key, to be shown once, and the hash under which it is configured.
    pub fn mint(tokens: &dyn Tokens) -> (String, TokenHash) {
        let key = format!("{}{}", Self::PREFIX, tokens.mint());
        let hash = tokens.hash(&key);
        (key, hash)
    }

    /// Returns the name of this key, if it is valid now.
    pub fn name_of(&self, key: &str) -> Option<Arc<str>> {
        // A longer text is not hashed: it is no key.
        if !key.starts_with(Self::PREFIX) || key.len() > 128 {
            return None;
        }
        let hash = self.tokens.hash(key);
        self.ring.read().unwrap_or_else(PoisonError::into_inner).get(&hash).cloned()
    }

    /// Accepts only the keys of this ring from now on.
    pub fn replace(&self, ring: KeyRing) {
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = ring;
    }
}

#[cfg(test)]
mod tests {
    use doorstep_domain::ports::MockTokens;

    use super::*;

    #[test]
    fn a_key_is_valid_until_it_is_taken_off_the_ring() {
        let mut tokens = MockTokens::new();
        tokens.expect_mint().returning(|| "secret".into());
        tokens.expect_hash().returning(|key| TokenHash::new([u8::from(key == "dsk_secret"); 32]));
        let tokens: Arc<dyn Tokens> = Arc::new(tokens);
        let (key, hash) = ServiceKeys::mint(&*tokens);
        let keys = ServiceKeys::new(tokens, [(hash, "shop".into())].into());
        assert_eq!(keys.name_of(&key).as_deref(), Some("shop"));
        for other in ["dsk_other", "secret", "", &format!("dsk_{}", "x".repeat(200))] {
            assert_eq!(keys.name_of(other), None, "{other}");
        }
        keys.replace(KeyRing::new());
        assert_eq!(keys.name_of(&key), None);
    }
}
