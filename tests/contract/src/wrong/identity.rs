//! Clocks, ids, passwords, tokens and authenticators: those in memory, with a flaw.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use doorstep_application::{Authenticator, Caller, NotAuthenticated};
use doorstep_domain::ports::{Clock, HasherError, Ids, PasswordHasher, StoreError, Tokens};
use doorstep_domain::{PasswordHash, Timestamp, TokenHash, UserId};
use uuid::Uuid;

use super::{WrongAdapter, with_flaws};
use crate::memory_door::MemoryClock;
use crate::memory_identity::{MemoryAuthenticator, MemoryIds, MemoryPasswords, MemoryTokens, id};
use crate::{AuthenticatorUnderTest, authenticator, clock, ids, passwords, tokens};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    // Clocks.
    GoesBack,
    StandsStill,
    AddsTwice,
    WallIsNow,
    // Ids.
    AnyVersion,
    SwapsPairs,
    CountsInEachThread,
    // Passwords.
    MatchesNothing,
    IgnoresCase,
    CutsAt72Bytes,
    OneSalt,
    KeepsThePassword,
    LetsNobodyIn,
    UnreadableIsWrong,
    // Tokens.
    MintsAgain,
    MintsShort,
    MintsBase64,
    SaltsHashes,
    HashesTheBeginning,
    // Authenticators.
    MakesUsersUp,
    TrimsTokens,
    FailsForInvalid,
    DeadAtOnce,
    AliveForEver,
    RemembersEnded,
}

/// What each clock does, and the promise that it breaks.
const CLOCKS: [(Flaw, &str, &str); 4] = [
    (Flaw::GoesBack, "goes back a second now and then", "clock forward"),
    (Flaw::StandsStill, "stands still", "clock pace"),
    (Flaw::AddsTwice, "converts in the same direction both ways", "clock inverse"),
    (Flaw::WallIsNow, "returns the timeline as the time of day", "clock wall"),
];

/// The same for ids.
const IDS: [(Flaw, &str, &str); 3] = [
    (Flaw::AnyVersion, "makes UUIDs of no version", "id version"),
    (Flaw::SwapsPairs, "returns every second id too early", "id order"),
    (Flaw::CountsInEachThread, "counts in each thread by itself", "id at once"),
];

/// The same for passwords.
const PASSWORDS: [(Flaw, &str, &str); 7] = [
    (Flaw::MatchesNothing, "finds every password wrong", "password right"),
    (Flaw::IgnoresCase, "ignores case", "password wrong"),
    (Flaw::CutsAt72Bytes, "hashes the first 72 bytes", "password length"),
    (Flaw::OneSalt, "uses the same salt for all", "password salt"),
    (Flaw::KeepsThePassword, "keeps the password beside the hash", "password hidden"),
    (Flaw::LetsNobodyIn, "finds every password right where there is no hash", "password of nobody"),
    (Flaw::UnreadableIsWrong, "takes an unreadable hash for a wrong one", "password unreadable"),
];

/// The same for tokens.
const TOKENS: [(Flaw, &str, &str); 5] = [
    (Flaw::MintsAgain, "mints the same token twice", "token new"),
    (Flaw::MintsShort, "mints tokens of 32 characters", "token long"),
    (Flaw::MintsBase64, "mints tokens with slashes", "token characters"),
    (Flaw::SaltsHashes, "hashes with a salt", "token hash same"),
    (Flaw::HashesTheBeginning, "hashes the first 32 bytes", "token hash other"),
];

/// The same for authenticators.
const AUTHENTICATORS: [(Flaw, &str, &str); 6] = [
    (Flaw::MakesUsersUp, "identifies somebody new each time", "authenticator caller"),
    (Flaw::TrimsTokens, "ignores spaces around a token", "authenticator invalid"),
    (Flaw::FailsForInvalid, "fails for an invalid token", "authenticator invalid"),
    (Flaw::DeadAtOnce, "takes every caller for dead", "authenticator alive"),
    (Flaw::AliveForEver, "takes every caller for alive", "authenticator foreign"),
    (Flaw::RemembersEnded, "identifies the user of an ended token", "authenticator ended"),
];

pub(super) fn all() -> Vec<WrongAdapter> {
    let mut all = with_flaws(&CLOCKS, |flaw| async move { clock(Wrong::with(flaw)).await });
    all.extend(with_flaws(&IDS, |flaw| async move {
        let wrong: Arc<dyn Ids> = Wrong::with(flaw);
        ids(&wrong);
    }));
    all.extend(with_flaws(&PASSWORDS, |flaw| async move { passwords(Wrong::with(flaw)).await }));
    all.extend(with_flaws(&TOKENS, |flaw| async move {
        let wrong: Arc<dyn Tokens> = Wrong::with(flaw);
        tokens(&wrong);
    }));
    all.extend(with_flaws(&AUTHENTICATORS, |flaw| async move {
        authenticator(&Wrong::with(flaw)).await;
    }));
    all
}

/// All of them in memory, behind one flaw.
struct Wrong {
    flaw: Flaw,
    calls: AtomicU64,
    clock: MemoryClock,
    ids: MemoryIds,
    passwords: MemoryPasswords,
    tokens: MemoryTokens,
    authenticator: Arc<MemoryAuthenticator>,
}

impl Wrong {
    fn with(flaw: Flaw) -> Arc<Self> {
        Arc::new(Self {
            flaw,
            calls: AtomicU64::new(0),
            clock: MemoryClock::default(),
            ids: MemoryIds::default(),
            passwords: MemoryPasswords::default(),
            tokens: MemoryTokens::default(),
            authenticator: Arc::default(),
        })
    }

    fn call(&self) -> u64 {
        self.calls.fetch_add(1, Relaxed)
    }

    /// The password that is hashed in place of this one.
    fn kept(&self, password: &str) -> String {
        match self.flaw {
            Flaw::IgnoresCase => password.to_lowercase(),
            Flaw::CutsAt72Bytes => {
                String::from_utf8_lossy(&password.as_bytes()[..password.len().min(72)]).into()
            }
            _ => password.to_owned(),
        }
    }
}

const HOUR: Duration = Duration::from_hours(1);

impl Clock for Wrong {
    fn now(&self) -> Timestamp {
        let now = self.clock.now();
        match self.flaw {
            Flaw::GoesBack if self.call() % 100 == 99 => now - Duration::from_secs(1),
            Flaw::StandsStill => Timestamp::default(),
            _ => now,
        }
    }

    fn wall_of(&self, moment: Timestamp) -> Timestamp {
        moment + HOUR
    }

    fn moment_of(&self, wall: Timestamp) -> Timestamp {
        if self.flaw == Flaw::AddsTwice { wall + HOUR } else { wall - HOUR }
    }

    fn wall(&self) -> Timestamp {
        if self.flaw == Flaw::WallIsNow { self.now() } else { self.wall_of(self.now()) }
    }
}

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

impl Ids for Wrong {
    fn next(&self) -> Uuid {
        match self.flaw {
            Flaw::AnyVersion => Uuid::from_u128(self.call().into()),
            Flaw::SwapsPairs => id(self.call() ^ 1),
            Flaw::CountsInEachThread => {
                COUNT.set(COUNT.get() + 1);
                id(COUNT.get())
            }
            _ => self.ids.next(),
        }
    }
}

#[async_trait]
impl PasswordHasher for Wrong {
    async fn hash(&self, password: &str) -> Result<PasswordHash, HasherError> {
        let kept = self.kept(password);
        match self.flaw {
            Flaw::OneSalt => MemoryPasswords::default().hash(&kept).await,
            Flaw::KeepsThePassword => {
                let hash = self.passwords.hash(&kept).await?;
                Ok(PasswordHash::new(format!("{}|{password}", hash.as_str())))
            }
            _ => self.passwords.hash(&kept).await,
        }
    }

    async fn verify(
        &self,
        password: &str,
        hash: Option<PasswordHash>,
    ) -> Result<bool, HasherError> {
        if hash.is_none() && self.flaw == Flaw::LetsNobodyIn {
            return Ok(true);
        }
        let hash = hash.map(|hash| {
            let text = hash.as_str();
            PasswordHash::new(text.split_once('|').map_or(text, |(hash, _)| hash).to_owned())
        });
        let right = self.passwords.verify(&self.kept(password), hash).await;
        match self.flaw {
            Flaw::MatchesNothing => Ok(false),
            Flaw::UnreadableIsWrong => Ok(right.unwrap_or(false)),
            _ => right,
        }
    }
}

impl Tokens for Wrong {
    fn mint(&self) -> String {
        let token = self.tokens.mint();
        match self.flaw {
            Flaw::MintsAgain => format!("{:064}", self.call() / 2),
            Flaw::MintsShort => token[32..].to_owned(),
            Flaw::MintsBase64 => format!("{token}/"),
            _ => token,
        }
    }

    fn hash(&self, token: &str) -> TokenHash {
        match self.flaw {
            Flaw::SaltsHashes => self.tokens.hash(&format!("{token}{}", self.call())),
            Flaw::HashesTheBeginning => self.tokens.hash(&token[..token.len().min(32)]),
            _ => self.tokens.hash(token),
        }
    }
}

#[async_trait]
impl Authenticator for Wrong {
    async fn authenticate(&self, token: &str) -> Result<Option<Caller>, NotAuthenticated> {
        let shown = if self.flaw == Flaw::TrimsTokens { token.trim() } else { token };
        let caller = self.authenticator.authenticate(shown).await?;
        match (self.flaw, caller) {
            (Flaw::MakesUsersUp, Some(caller)) => {
                Ok(Some(Caller { user_id: Uuid::now_v7().into(), ..caller }))
            }
            (Flaw::FailsForInvalid, None) => {
                Err(StoreError::Corrupt("there is no such token".to_owned()).into())
            }
            (_, caller) => Ok(caller),
        }
    }

    async fn is_alive(&self, caller: &Caller) -> Result<bool, StoreError> {
        match self.flaw {
            Flaw::DeadAtOnce => Ok(false),
            Flaw::AliveForEver => Ok(true),
            _ => self.authenticator.is_alive(caller).await,
        }
    }
}

#[async_trait]
impl AuthenticatorUnderTest for Arc<Wrong> {
    fn authenticator(&self) -> Arc<dyn Authenticator> {
        self.clone()
    }

    async fn issue(&self) -> (UserId, String) {
        self.authenticator.issue().await
    }

    async fn end(&self, token: &str) -> bool {
        if self.flaw != Flaw::RemembersEnded {
            MemoryAuthenticator::end(&self.authenticator, token);
        }
        true
    }
}
