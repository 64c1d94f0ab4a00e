//! Signs users in, recognises their tokens, and signs them out.

use std::sync::Arc;
use std::time::Duration;

use doorstep_domain::ports::{
    Accounts, Clock, HasherError, PasswordHasher, Sessions, StoreError, Tokens,
};
use doorstep_domain::{Session, TokenHash, UserId, Username};

use crate::{Caller, Credentials, FieldFault, LetInBy, SignedIn};

/// Is told that a session has ended, so that its connections are closed too.
#[cfg_attr(test, mockall::automock)]
pub trait SessionEnd: Send + Sync {
    /// This session of this user has ended.
    fn ended(&self, user: &UserId, session: &TokenHash);
}

/// Signs users in, recognises their tokens, and signs them out.
#[derive(Clone)]
pub struct SignIns {
    parts: SignInParts,
}

opaque!(SignIns);

/// The parts of [`SignIns`].
#[derive(Clone)]
pub struct SignInParts {
    /// Stores users.
    pub accounts: Arc<dyn Accounts>,
    /// Stores sessions.
    pub sessions: Arc<dyn Sessions>,
    /// Verifies passwords.
    pub passwords: Arc<dyn PasswordHasher>,
    /// Makes and hashes tokens.
    pub tokens: Arc<dyn Tokens>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Is told of ended sessions.
    pub session_end: Arc<dyn SessionEnd>,
    /// How long a session lasts.
    pub session_ttl: Duration,
}

opaque!(SignInParts);

/// Why a user was not signed in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// These fields have a size that no user's can have.
    #[error("the username or the password has an impossible size")]
    Invalid(Vec<FieldFault>),
    /// No such user, or the wrong password. The error does not say which.
    #[error("the username or the password is wrong")]
    Wrong,
    /// Too many sign-ins at once. Try again later.
    #[error("too many sign-ins at once")]
    Busy,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<HasherError> for SignInError {
    fn from(error: HasherError) -> Self {
        match error {
            HasherError::Busy => Self::Busy,
            HasherError::Unreadable(what) => Self::Store(StoreError::Corrupt(what)),
        }
    }
}

impl SignIns {
    /// The longest token that is looked up, in bytes.
    const MAX_TOKEN_BYTES: usize = 128;

    /// Builds it from its parts.
    pub fn new(parts: SignInParts) -> Self {
        Self { parts }
    }

    /// Opens a session for a user who knows the password.
    ///
    /// **An unknown name and a wrong password are indistinguishable**, by the error and by the time it takes.
    pub async fn sign_in(&self, shown: Credentials) -> Result<SignedIn, SignInError> {
        shown.for_sign_in().map_err(SignInError::Invalid)?;
        let known = match shown.username.parse::<Username>() {
            Ok(name) => self.parts.accounts.by_username(&name).await?,
            Err(_) => None,
        };
        let (user, hash) = known.map(|known| (known.user, known.password)).unzip();
        // Without a user the hasher takes the same time.
        let right = self.parts.passwords.verify(&shown.password, hash).await?;
        let (Some(user), true) = (user, right) else { return Err(SignInError::Wrong) };

        let token = self.parts.tokens.mint();
        let session = Session {
            token: self.parts.tokens.hash(&token),
            user_id: user.id.clone(),
            expires_at: self.parts.clock.wall() + self.parts.session_ttl,
        };
        self.parts.sessions.open(&session).await?;
        Ok(SignedIn { user, token, expires_at: session.expires_at })
    }

    /// Returns the caller that this token identifies, if it is valid.
    pub async fn authenticate(&self, token: &str) -> Result<Option<Caller>, StoreError> {
        if token.is_empty() || token.len() > Self::MAX_TOKEN_BYTES {
            return Ok(None);
        }
        self.alive(&self.parts.tokens.hash(token)).await
    }

    /// Returns the caller of this session, if it has not ended.
    pub async fn alive(&self, session: &TokenHash) -> Result<Option<Caller>, StoreError> {
        let found = self.parts.sessions.find(session, self.parts.clock.wall()).await?;
        Ok(found.map(|Session { token, user_id, expires_at }| Caller {
            user_id,
            session: token,
            by: LetInBy::Session,
            expires_at,
        }))
    }

    /// Ends the caller's session. When this returns, the token is invalid and [`SessionEnd`] has been told.
    ///
    /// Once begun, it finishes even if the future is dropped.
    pub async fn sign_out(&self, caller: Caller) -> Result<(), StoreError> {
        let (sessions, session_end) =
            (Arc::clone(&self.parts.sessions), Arc::clone(&self.parts.session_end));
        let closed = tokio::spawn(async move {
            sessions.close(&caller.session).await?;
            // After the store, so that a client that connects from now on finds the token invalid.
            session_end.ended(&caller.user_id, &caller.session);
            Ok(())
        });
        closed.await.unwrap_or_else(|join| Err(StoreError::Unavailable(Box::new(join))))
    }

    /// Deletes expired sessions and returns how many. Call it at intervals.
    pub async fn purge(&self) -> Result<u64, StoreError> {
        self.parts.sessions.purge(self.parts.clock.wall()).await
    }
}

#[cfg(test)]
mod tests {
    use doorstep_domain::ports::{
        MockAccounts, MockClock, MockPasswordHasher, MockSessions, MockTokens,
    };
    use doorstep_domain::{NewUser, PasswordHash, Timestamp, User};
    use mockall::Sequence;
    use mockall::predicate::{always, eq};
    use uuid::Uuid;

    use super::*;

    const SESSION: TokenHash = TokenHash::new([7; 32]);

    fn ada() -> User {
        User {
            id: UserId::from(Uuid::from_u128(1)),
            username: "ada".parse().unwrap(),
            created_at: Timestamp::default(),
        }
    }

    /// Knows Ada, whose password is "right".
    fn parts() -> SignInParts {
        let mut accounts = MockAccounts::new();
        accounts.expect_by_username().returning(|name| {
            let known = name.key() == "ada";
            Ok(known.then(|| NewUser { user: ada(), password: PasswordHash::new("$right".into()) }))
        });
        let mut passwords = MockPasswordHasher::new();
        passwords.expect_verify().returning(|password, hash| {
            Ok(hash.is_some_and(|hash| hash.as_str() == format!("${password}")))
        });
        let mut tokens = MockTokens::new();
        tokens.expect_mint().returning(|| "token".into());
        tokens.expect_hash().with(eq("token")).return_const(SESSION);
        let mut clock = MockClock::new();
        clock.expect_now().return_const(Timestamp::from_micros(5));
        let mut sessions = MockSessions::new();
        sessions.expect_open().returning(|_| Ok(()));
        SignInParts {
            accounts: Arc::new(accounts),
            sessions: Arc::new(sessions),
            passwords: Arc::new(passwords),
            tokens: Arc::new(tokens),
            clock: Arc::new(clock),
            session_end: Arc::new(MockSessionEnd::new()),
            session_ttl: Duration::from_secs(1),
        }
    }

    async fn sign_in(username: &str, password: &str) -> Result<SignedIn, SignInError> {
        let shown = Credentials { username: username.into(), password: password.into() };
        SignIns::new(parts()).sign_in(shown).await
    }

    #[tokio::test]
    async fn the_right_password_opens_a_session() {
        let signed_in = sign_in("ADA", "right").await.unwrap();
        assert_eq!((signed_in.user, signed_in.token.as_str()), (ada(), "token"));
        assert_eq!(signed_in.expires_at, Timestamp::from_micros(1_000_005));
    }

    #[tokio::test]
    async fn an_unknown_user_and_a_wrong_password_get_the_same_error() {
        for (username, password) in [("ada", "wrong"), ("bob", "right"), ("no such name", "x")] {
            let answer = sign_in(username, password).await;
            assert!(matches!(answer, Err(SignInError::Wrong)), "{username}");
        }
    }

    #[tokio::test]
    async fn the_hasher_also_runs_for_an_unknown_name() {
        let mut passwords = MockPasswordHasher::new();
        passwords.expect_verify().with(eq("right"), eq(None)).once().returning(|_, _| Ok(false));
        let parts = SignInParts { passwords: Arc::new(passwords), ..parts() };
        let shown = Credentials { username: "bob".into(), password: "right".into() };
        assert!(SignIns::new(parts).sign_in(shown).await.is_err());
    }

    #[tokio::test]
    async fn impossible_sizes_are_named() {
        let Err(SignInError::Invalid(faults)) = sign_in("", &"x".repeat(129)).await else {
            panic!("accepted");
        };
        let fields: Vec<_> = faults.iter().map(|fault| fault.field).collect();
        assert_eq!(fields, ["username", "password"]);
    }

    #[tokio::test]
    async fn an_impossible_token_is_not_looked_up() {
        let sign_ins = SignIns::new(parts());
        for token in ["", &"x".repeat(129)] {
            assert_eq!(sign_ins.authenticate(token).await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn signing_out_ends_the_session_before_it_tells_anybody() {
        let mut order = Sequence::new();
        let mut sessions = MockSessions::new();
        sessions
            .expect_close()
            .with(eq(SESSION))
            .once()
            .in_sequence(&mut order)
            .returning(|_| Ok(()));
        let mut session_end = MockSessionEnd::new();
        session_end
            .expect_ended()
            .with(eq(ada().id), eq(SESSION))
            .once()
            .in_sequence(&mut order)
            .return_const(());
        let parts = SignInParts {
            sessions: Arc::new(sessions),
            session_end: Arc::new(session_end),
            ..parts()
        };
        let caller = Caller {
            user_id: ada().id,
            session: SESSION,
            by: LetInBy::Session,
            expires_at: Timestamp::MAX,
        };
        SignIns::new(parts).sign_out(caller).await.unwrap();
    }

    #[tokio::test]
    async fn a_token_is_looked_up_with_the_current_time() {
        let mut sessions = MockSessions::new();
        sessions
            .expect_find()
            .with(eq(SESSION), eq(Timestamp::from_micros(5)))
            .returning(|_, _| Ok(None));
        sessions.expect_purge().with(always()).returning(|_| Ok(3));
        let sign_ins = SignIns::new(SignInParts { sessions: Arc::new(sessions), ..parts() });
        assert_eq!(sign_ins.authenticate("token").await.unwrap(), None);
        assert_eq!(sign_ins.purge().await.unwrap(), 3);
    }
}
