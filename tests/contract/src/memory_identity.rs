//! Ids, passwords, tokens and who they belong to, in memory: quick and repeatable, and **not secret**. For tests only.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use doorstep_application::{Authenticator, Caller, LetInBy, NotAuthenticated};
use doorstep_domain::ports::{HasherError, Ids, PasswordHasher, StoreError, Tokens};
use doorstep_domain::{PasswordHash, Timestamp, TokenHash, UserId};
use uuid::{Builder, Uuid};

use crate::AuthenticatorUnderTest;

/// `UUIDv7`s that count up, the same ones in every run.
#[derive(Debug, Default)]
pub struct MemoryIds(AtomicU64);

impl Ids for MemoryIds {
    fn next(&self) -> Uuid {
        id(self.0.fetch_add(1, Relaxed))
    }
}

/// The `UUIDv7` with this number, all of the same millisecond.
pub(crate) fn id(number: u64) -> Uuid {
    let mut bytes = [0; 10];
    // The first bits are the version's and the variant's; 48 bits of numbers are enough.
    bytes[4..].copy_from_slice(&number.to_be_bytes()[2..]);
    Builder::from_unix_timestamp_millis(1_750_000_000_000, &bytes).into_uuid()
}

/// A number of 256 bits that depends on every byte of the text.
fn digest(text: &str) -> [u8; 32] {
    let mut digest = [0; 32];
    for (lane, bytes) in (0_u64..).zip(digest.chunks_exact_mut(8)) {
        // FNV-1a, with another start in each lane.
        let start = 0xcbf2_9ce4_8422_2325_u64 ^ lane.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = text
            .bytes()
            .fold(start, |mixed, byte| (mixed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        bytes.copy_from_slice(&mixed.to_be_bytes());
    }
    digest
}

/// Passwords with a hash that costs nothing.
#[derive(Debug, Default)]
pub struct MemoryPasswords(AtomicU64);

/// How every hash begins.
const SCHEME: &str = "$memory$";

fn hashed(password: &str, salt: &str) -> PasswordHash {
    let digest = digest(&format!("{salt}${password}"));
    let [high, low] = [0, 16].map(|at| {
        let mut half = [0; 16];
        half.copy_from_slice(&digest[at..at + 16]);
        u128::from_be_bytes(half)
    });
    PasswordHash::new(format!("{SCHEME}{salt}${high:032x}{low:032x}"))
}

#[async_trait]
impl PasswordHasher for MemoryPasswords {
    async fn hash(&self, password: &str) -> Result<PasswordHash, HasherError> {
        Ok(hashed(password, &self.0.fetch_add(1, Relaxed).to_string()))
    }

    async fn verify(
        &self,
        password: &str,
        hash: Option<PasswordHash>,
    ) -> Result<bool, HasherError> {
        let Some(hash) = hash else { return Ok(false) };
        let parts = hash.as_str().strip_prefix(SCHEME).and_then(|rest| rest.split_once('$'));
        let (salt, _) =
            parts.ok_or_else(|| HasherError::Unreadable("not a hash of this scheme".to_owned()))?;
        Ok(hashed(password, salt) == hash)
    }
}

/// Tokens that are new, and can be guessed.
#[derive(Debug, Default)]
pub struct MemoryTokens(AtomicU64);

impl Tokens for MemoryTokens {
    fn mint(&self) -> String {
        format!("{:064}", self.0.fetch_add(1, Relaxed))
    }

    fn hash(&self, token: &str) -> TokenHash {
        TokenHash::new(digest(token))
    }
}

/// Knows the tokens that it issued.
#[derive(Default)]
pub struct MemoryAuthenticator {
    callers: Mutex<HashMap<String, Caller>>,
    tokens: MemoryTokens,
}

impl MemoryAuthenticator {
    fn callers(&self) -> MutexGuard<'_, HashMap<String, Caller>> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Issues a token to this user, which is valid until it is ended.
    pub fn let_in(&self, user_id: UserId) -> String {
        let token = self.tokens.mint();
        let session = self.tokens.hash(&token);
        let by = LetInBy::SignedToken;
        let caller = Caller { user_id, session, by, expires_at: Timestamp::MAX };
        self.callers().insert(token.clone(), caller);
        token
    }

    /// Ends a token.
    pub fn end(&self, token: &str) {
        self.callers().remove(token);
    }
}

#[async_trait]
impl Authenticator for MemoryAuthenticator {
    async fn authenticate(&self, token: &str) -> Result<Option<Caller>, NotAuthenticated> {
        Ok(self.callers().get(token).cloned())
    }

    async fn is_alive(&self, caller: &Caller) -> Result<bool, StoreError> {
        Ok(self.callers().values().any(|other| other == caller))
    }
}

#[async_trait]
impl AuthenticatorUnderTest for Arc<MemoryAuthenticator> {
    fn authenticator(&self) -> Arc<dyn Authenticator> {
        self.clone()
    }

    async fn issue(&self) -> (UserId, String) {
        let user = UserId::from(Uuid::now_v7());
        (user.clone(), self.let_in(user))
    }

    async fn end(&self, token: &str) -> bool {
        MemoryAuthenticator::end(self, token);
        true
    }
}
