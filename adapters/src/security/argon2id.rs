use std::sync::Arc;

use argon2::password_hash::Error as HashError;
use argon2::password_hash::phc::{Output, ParamsString, PasswordHash as Phc, Salt};
use argon2::{Algorithm, Argon2, Params, Version};
use async_trait::async_trait;
use doorstep_domain::PasswordHash;
use doorstep_domain::ports::{HasherError, PasswordHasher};
use tokio::sync::Semaphore;

use super::buffers::{Buffer, Buffers};

/// The memory of one hash, in KiB. With [`PASSES`] and [`LANES`] the first choice of OWASP's Password Storage
/// Cheat Sheet for argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
/// Passes over the memory.
const PASSES: u32 = 2;
/// Degree of parallelism.
const LANES: u32 = 1;

/// Hashes passwords with argon2id on separate threads, a bounded number at a time.
///
/// A hash takes 19 MiB and some 20 ms on purpose; without a bound, a burst of sign-ins would take all memory and
/// starve users who have signed in already.
pub struct Argon2Passwords {
    /// A permit for a new password to wait for its turn.
    hash_places: Arc<Semaphore>,
    /// The same for a password to verify: a flood of registrations must not keep sign-ins out, nor the other way round.
    verify_places: Arc<Semaphore>,
    /// A permit to hash.
    turns: Arc<Semaphore>,
    buffers: Buffers,
    /// The hash to verify against if there is no user, so that it takes as long as with a user.
    nobody: PasswordHash,
}

/// The limits on concurrent hashing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashingLimits {
    /// Hashes that are computed at a time, each on one core and in 19 MiB.
    pub at_once: usize,
    /// Hashes that may wait for their turn, and as many verifications; beyond them the hasher is busy.
    pub waiting: usize,
}

impl Default for HashingLimits {
    /// One per core, and 256 of each waiting: a wait of some seconds.
    fn default() -> Self {
        Self { at_once: std::thread::available_parallelism().map_or(1, Into::into), waiting: 256 }
    }
}

impl Argon2Passwords {
    /// A hasher with these limits. It hashes once, which takes some 20 ms.
    pub fn new(limits: HashingLimits) -> Result<Self, HasherError> {
        let at_once = limits.at_once.max(1);
        let places = || Arc::new(Semaphore::new(at_once.saturating_add(limits.waiting)));
        Ok(Self {
            hash_places: places(),
            verify_places: places(),
            turns: Arc::new(Semaphore::new(at_once)),
            nobody: Buffers::default()
                .user()
                .with_buffer(|buffer| hash(b"nobody's password", buffer))?,
            buffers: Buffers::default(),
        })
    }

    /// Runs `work` off the async threads when its turn comes, if one of these places is free to wait for it.
    async fn in_turn<T: Send + 'static>(
        &self,
        places: &Arc<Semaphore>,
        work: impl FnOnce(&mut Buffer) -> T + Send + 'static,
    ) -> Result<T, HasherError> {
        let place = Arc::clone(places).try_acquire_owned().map_err(|_| HasherError::Busy)?;
        let user = self.buffers.user();
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| HasherError::Busy)?;
        let work = tokio::task::spawn_blocking(move || {
            // Held by the thread, not by the future: a client that disconnects does not stop the hashing, and must
            // not make room for another one while it goes on.
            let _held = (place, turn);
            user.with_buffer(work)
        });
        work.await.map_err(|_| HasherError::Busy)
    }
}

#[async_trait]
impl PasswordHasher for Argon2Passwords {
    async fn hash(&self, password: &str) -> Result<PasswordHash, HasherError> {
        let password = password.to_owned();
        self.in_turn(&self.hash_places, move |buffer| hash(password.as_bytes(), buffer)).await?
    }

    async fn verify(
        &self,
        password: &str,
        hash: Option<PasswordHash>,
    ) -> Result<bool, HasherError> {
        let exists = hash.is_some();
        let password = password.to_owned();
        let hash = hash.unwrap_or_else(|| self.nobody.clone());
        let right = self
            .in_turn(&self.verify_places, move |buffer| verify(password.as_bytes(), &hash, buffer))
            .await??;
        Ok(right && exists)
    }
}

fn hash(password: &[u8], buffer: &mut Buffer) -> Result<PasswordHash, HasherError> {
    let mut hashed = || -> Result<Phc, HashError> {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(Params::DEFAULT_OUTPUT_LEN))?;
        let (algorithm, version, salt) = (Algorithm::Argon2id, Version::V0x13, Salt::generate());
        let hash = compute(password, &salt, (algorithm, version, &params), buffer)?;
        // The output length is not stored: it is the length of the hash itself.
        let params = ParamsString::try_from(&Params::new(MEMORY_KIB, PASSES, LANES, None)?)?;
        let (version, salt, hash) = (Some(version.into()), Some(salt), Some(hash));
        Ok(Phc { algorithm: algorithm.ident(), version, params, salt, hash })
    };
    let phc = hashed().map_err(|e| HasherError::Unreadable(e.to_string()))?;
    Ok(PasswordHash::new(phc.to_string()))
}

/// Uses the parameters in the hash, so that hashes with earlier parameters still verify.
fn verify(password: &[u8], hash: &PasswordHash, buffer: &mut Buffer) -> Result<bool, HasherError> {
    let mut right = || -> Result<bool, HashError> {
        let phc = Phc::new(hash.as_str())?;
        let algorithm = Algorithm::try_from(phc.algorithm.as_str())?;
        let version = phc.version.map(Version::try_from).transpose()?.unwrap_or_default();
        let params = Params::try_from(&phc)?;
        let (Some(salt), Some(expected)) = (phc.salt, phc.hash) else {
            return Err(HashError::EncodingInvalid);
        };
        // This comparison takes constant time.
        Ok(compute(password, &salt, (algorithm, version, &params), buffer)? == expected)
    };
    right().map_err(|e| HasherError::Unreadable(e.to_string()))
}

fn compute(
    password: &[u8],
    salt: &[u8],
    (algorithm, version, params): (Algorithm, Version, &Params),
    buffer: &mut Buffer,
) -> Result<Output, HashError> {
    let mut output = [0; Output::MAX_LENGTH];
    let size = params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
    let output = output.get_mut(..size).ok_or(HashError::OutputSize)?;
    let blocks = buffer.blocks(params.block_count());
    let argon2 = Argon2::new(algorithm, version, params.clone());
    argon2.hash_password_into_with_memory(password, salt, output, blocks)?;
    Ok(Output::new(output)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hasher(at_once: usize, waiting: usize) -> Argon2Passwords {
        Argon2Passwords::new(HashingLimits { at_once, waiting }).unwrap()
    }

    #[tokio::test]
    async fn a_hash_matches_only_its_password() {
        let hasher = hasher(2, 2);
        let hash = hasher.hash("correct horse").await.unwrap();
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hash.as_str());
        assert!(hasher.verify("correct horse", Some(hash.clone())).await.unwrap());
        assert!(!hasher.verify("battery staple", Some(hash)).await.unwrap());
    }

    #[tokio::test]
    async fn the_same_password_twice_is_two_hashes() {
        let hasher = hasher(2, 2);
        let (one, two) = (hasher.hash("again").await.unwrap(), hasher.hash("again").await.unwrap());
        assert_ne!(one, two);
    }

    #[tokio::test]
    async fn nobody_has_a_password() {
        let hasher = hasher(1, 1);
        assert!(!hasher.verify("nobody's password", None).await.unwrap());
    }

    #[tokio::test]
    async fn an_invalid_hash_is_an_error_and_not_a_wrong_password() {
        let answer = hasher(1, 1).verify("x", Some(PasswordHash::new("plain".into()))).await;
        assert!(matches!(answer, Err(HasherError::Unreadable(_))));
    }

    #[tokio::test]
    async fn it_is_busy_while_its_queue_is_full() {
        let hasher = hasher(1, 1);
        let (a, b, c) = tokio::join!(hasher.hash("a"), hasher.hash("b"), hasher.hash("c"));
        assert!(a.is_ok() && b.is_ok(), "one hashes, one waits");
        assert!(matches!(c, Err(HasherError::Busy)), "and the third is told");
        assert!(hasher.hash("d").await.is_ok());
    }

    #[tokio::test]
    async fn new_passwords_keep_no_sign_in_out() {
        let hasher = hasher(1, 1);
        let known = hasher.hash("known").await.unwrap();
        let (a, b, c, right) = tokio::join!(
            hasher.hash("a"),
            hasher.hash("b"),
            hasher.hash("c"),
            hasher.verify("known", Some(known))
        );
        assert!(a.is_ok() && b.is_ok() && matches!(c, Err(HasherError::Busy)));
        assert!(right.unwrap());
    }

    #[tokio::test]
    async fn a_dropped_call_keeps_its_turn_until_the_hashing_is_done() {
        let hasher = hasher(1, 0);
        let (go, gate) = std::sync::mpsc::channel::<()>();
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let work = hasher.in_turn(&hasher.hash_places, move |_| {
            let _ = begun.send(());
            let _ = gate.recv();
        });
        tokio::select! {
            _ = work => panic!("it waits for the gate"),
            begun = has_begun => begun.unwrap(),
        }
        // The future is gone, but the thread is not.
        assert!(matches!(hasher.hash("x").await, Err(HasherError::Busy)));
        drop(go);
        hasher.turns.acquire().await.map(drop).unwrap();
    }
}
