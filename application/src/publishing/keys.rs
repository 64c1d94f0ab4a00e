use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use doorstep_domain::TokenHash;
use doorstep_domain::ports::Tokens;

/// The service keys that are good, by their hashes: a name for each.
pub type KeyRing = HashMap<TokenHash, Arc<str>>;

/// Who may publish. The ring can be replaced while it is in use: a key that is not in the new one is refused
/// from then on.
pub struct ServiceKeys {
    tokens: Arc<dyn Tokens>,
    ring: RwLock<KeyRing>,
}

impl ServiceKeys {
    /// What every key begins with, so that it can be told from a user's token, also by those who search a
    /// repository for secrets.
    pub const PREFIX: &str = "dsk_";

    /// The keys of this ring.
    pub fn new(tokens: Arc<dyn Tokens>, ring: KeyRing) -> Self {
        Self { tokens, ring: RwLock::new(ring) }
    }

    /// A new key, to be shown once, and the hash under which it is configured.
    pub fn mint(tokens: &dyn Tokens) -> (String, TokenHash) {
        let key = format!("{}{}", Self::PREFIX, tokens.mint());
        let hash = tokens.hash(&key);
        (key, hash)
    }

    /// Whose key this is, if it is one that is good now.
    pub fn name_of(&self, key: &str) -> Option<Arc<str>> {
        // Anything longer is not worth hashing.
        if !key.starts_with(Self::PREFIX) || key.len() > 128 {
            return None;
        }
        let hash = self.tokens.hash(key);
        self.ring.read().unwrap_or_else(PoisonError::into_inner).get(&hash).cloned()
    }

    /// From now on the keys of this ring, and no others.
    pub fn replace(&self, ring: KeyRing) {
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = ring;
    }
}

#[cfg(test)]
mod tests {
    use doorstep_domain::ports::MockTokens;

    use super::*;

    #[test]
    fn a_key_is_good_until_it_is_taken_off_the_ring() {
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
