//! Registers users.

use std::sync::Arc;
use std::time::Duration;

use doorstep_domain::ports::{
    Accounts, Clock, EventPublisher, HasherError, Ids, PasswordHasher, RegisterError, StoreError,
    Tokens,
};
use doorstep_domain::{DomainEvent, NewUser, Session, User, UserId};

use crate::{Credentials, FieldFault, SignedIn};

/// Registers users: checks the credentials, hashes the password, commits the user with a first session, and
/// publishes the event.
#[derive(Clone)]
pub struct Registration {
    accounts: Arc<dyn Accounts>,
    passwords: Arc<dyn PasswordHasher>,
    tokens: Arc<dyn Tokens>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    events: Arc<dyn EventPublisher>,
    session_ttl: Duration,
}

opaque!(Registration);

/// The parts of [`Registration`].
#[derive(Clone)]
pub struct RegistrationParts {
    /// Stores users.
    pub accounts: Arc<dyn Accounts>,
    /// Hashes passwords.
    pub passwords: Arc<dyn PasswordHasher>,
    /// Makes the first session's token.
    pub tokens: Arc<dyn Tokens>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Makes user ids.
    pub ids: Arc<dyn Ids>,
    /// Takes the events.
    pub events: Arc<dyn EventPublisher>,
    /// How long a session lasts.
    pub session_ttl: Duration,
}

opaque!(RegistrationParts);

/// Why a user was not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// These fields are invalid.
    #[error("the username or the password is not acceptable")]
    Invalid(Vec<FieldFault>),
    /// Another user has this name, without regard to case.
    #[error("the username is taken")]
    UsernameTaken,
    /// Too many registrations at once. Try again later.
    #[error("too many registrations at once")]
    Busy,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<RegisterError> for RegistrationError {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::UsernameTaken => Self::UsernameTaken,
            RegisterError::Store(error) => Self::Store(error),
        }
    }
}

impl From<HasherError> for RegistrationError {
    fn from(error: HasherError) -> Self {
        match error {
            HasherError::Busy => Self::Busy,
            HasherError::Unreadable(what) => Self::Store(StoreError::Corrupt(what)),
        }
    }
}

impl Registration {
    /// Builds it from its parts.
    pub fn new(parts: RegistrationParts) -> Self {
        let RegistrationParts { accounts, passwords, tokens, clock, ids, events, session_ttl } =
            parts;
        Self { accounts, passwords, tokens, clock, ids, events, session_ttl }
    }

    /// Registers a user and signs them in.
    ///
    /// Dropping the future after the commit has begun changes nothing: the event is still raised.
    pub async fn register(&self, wanted: Credentials) -> Result<SignedIn, RegistrationError> {
        let username = wanted.for_registration().map_err(RegistrationError::Invalid)?;
        let password = self.passwords.hash(&wanted.password).await?;
        let now = self.clock.wall();
        let user = User { id: UserId::from(self.ids.next()), username, created_at: now };
        let token = self.tokens.mint();
        let session = Session {
            token: self.tokens.hash(&token),
            user_id: user.id.clone(),
            expires_at: now + self.session_ttl,
        };
        let expires_at = session.expires_at;
        let new = NewUser { user, password };

        // A client that hangs up drops this future at any await. Between the commit and the event, that would
        // delay the user's gift until the next start. Therefore the two run in a task of their own.
        let (accounts, events) = (Arc::clone(&self.accounts), Arc::clone(&self.events));
        let committed = tokio::spawn(async move {
            accounts.register(&new, &session).await?;
            let event = DomainEvent::UserRegistered { user: new.user.clone() };
            if let Err(error) = events.publish(event).await {
                // The user exists, so this is a success; the next start reconciles the rewards.
                tracing::warn!(user = %new.user.id, %error, "could not publish the event of a registration");
            }
            Ok::<_, RegisterError>(new.user)
        });
        let user = match committed.await {
            Ok(result) => result?,
            Err(join) => return Err(StoreError::Unavailable(Box::new(join)).into()),
        };
        Ok(SignedIn { user, token, expires_at })
    }
}

#[cfg(test)]
mod tests {
    use doorstep_domain::ports::{
        MockAccounts, MockClock, MockEventPublisher, MockIds, MockPasswordHasher, MockTokens,
    };
    use doorstep_domain::{PasswordHash, Timestamp, TokenHash};
    use mockall::Sequence;
    use tokio::sync::oneshot;
    use uuid::Uuid;

    use super::*;

    fn registration(accounts: MockAccounts, events: MockEventPublisher) -> Registration {
        let mut passwords = MockPasswordHasher::new();
        passwords.expect_hash().returning(|_| Ok(PasswordHash::new("$hash".into())));
        let mut tokens = MockTokens::new();
        tokens.expect_mint().returning(|| "token".into());
        tokens.expect_hash().returning(|_| TokenHash::new([7; 32]));
        let mut clock = MockClock::new();
        clock.expect_now().return_const(Timestamp::from_micros(1));
        let mut ids = MockIds::new();
        ids.expect_next().return_const(Uuid::from_u128(1));
        Registration::new(RegistrationParts {
            accounts: Arc::new(accounts),
            passwords: Arc::new(passwords),
            tokens: Arc::new(tokens),
            clock: Arc::new(clock),
            ids: Arc::new(ids),
            events: Arc::new(events),
            session_ttl: Duration::from_mins(1),
        })
    }

    fn ada() -> Credentials {
        Credentials { username: "Ada".into(), password: "correct horse".into() }
    }

    #[tokio::test]
    async fn commits_then_announces() {
        let mut order = Sequence::new();
        let mut accounts = MockAccounts::new();
        accounts
            .expect_register()
            .withf(|new, session| {
                new.password.as_str() == "$hash"
                    && session.user_id == new.user.id
                    && session.expires_at == Timestamp::from_micros(60_000_001)
            })
            .once()
            .in_sequence(&mut order)
            .returning(|_, _| Ok(()));
        let mut events = MockEventPublisher::new();
        events
            .expect_publish()
            .withf(|event| event.name() == "UserRegistered")
            .once()
            .in_sequence(&mut order)
            .returning(|_| Ok(()));
        let signed_in = registration(accounts, events).register(ada()).await.unwrap();
        assert_eq!(signed_in.user.username.as_str(), "Ada");
        assert_eq!(signed_in.token, "token");
    }

    #[tokio::test]
    async fn what_was_not_committed_is_not_announced() {
        let mut accounts = MockAccounts::new();
        accounts.expect_register().returning(|_, _| Err(RegisterError::UsernameTaken));
        let answer = registration(accounts, MockEventPublisher::new()).register(ada()).await;
        assert!(matches!(answer, Err(RegistrationError::UsernameTaken)));
    }

    #[tokio::test]
    async fn a_bus_that_has_stopped_does_not_undo_the_user() {
        let mut accounts = MockAccounts::new();
        accounts.expect_register().returning(|_, _| Ok(()));
        let mut events = MockEventPublisher::new();
        events.expect_publish().returning(|_| Err(doorstep_domain::ports::PublishError::Stopped));
        assert!(registration(accounts, events).register(ada()).await.is_ok());
    }

    #[tokio::test]
    async fn a_client_that_hangs_up_during_the_commit_is_still_announced() {
        let (begun_tx, begun) = oneshot::channel();
        let (announced_tx, announced) = oneshot::channel();
        let (begun_tx, announced_tx) =
            (std::sync::Mutex::new(Some(begun_tx)), std::sync::Mutex::new(Some(announced_tx)));
        let mut accounts = MockAccounts::new();
        accounts.expect_register().returning(move |_, _| {
            if let Some(begun) = begun_tx.lock().unwrap().take() {
                let _ = begun.send(());
            }
            Ok(())
        });
        let mut events = MockEventPublisher::new();
        events.expect_publish().returning(move |_| {
            if let Some(announced) = announced_tx.lock().unwrap().take() {
                let _ = announced.send(());
            }
            Ok(())
        });
        let registration = registration(accounts, events);
        // One thread: the commit's task cannot run before this one yields.
        tokio::select! {
            biased;
            _ = registration.register(ada()) => panic!("it cannot be done before it has begun"),
            () = std::future::ready(()) => {}
        }
        begun.await.unwrap();
        announced.await.unwrap();
    }
}
