use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use doorstep_domain::ports::StoreError;

use crate::sign_ins::SignIns;
use crate::{Caller, LetInBy};

/// Identifies the user behind a token: the port for sources of identities.
///
/// The sessions of our own users ([`SignIns`]) are one implementation, a backend's own signed tokens another.
#[cfg_attr(test, mockall::automock)]
#[async_trait]
pub trait Authenticator: Send + Sync {
    /// Returns the caller that this token identifies. Returns `None` for every invalid token, without the reason.
    async fn authenticate(&self, token: &str) -> Result<Option<Caller>, NotAuthenticated>;

    /// Whether the caller's token is still valid. Returns false for a caller of another authenticator.
    async fn is_alive(&self, caller: &Caller) -> Result<bool, StoreError>;
}

#[async_trait]
impl Authenticator for SignIns {
    async fn authenticate(&self, token: &str) -> Result<Option<Caller>, NotAuthenticated> {
        Ok(SignIns::authenticate(self, token).await?)
    }

    async fn is_alive(&self, caller: &Caller) -> Result<bool, StoreError> {
        Ok(caller.by == LetInBy::Session && self.alive(&caller.session).await?.is_some())
    }
}

impl From<SignIns> for Arc<dyn Authenticator> {
    fn from(sign_ins: SignIns) -> Self {
        Arc::new(sign_ins)
    }
}

/// The token could not be checked now; a later try may succeed.
#[derive(Debug, thiserror::Error)]
pub enum NotAuthenticated {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keys that verify the token cannot be fetched now.
    #[error("the keys that verify tokens cannot be fetched now")]
    KeysAway {
        /// When to try again.
        retry_after: Duration,
    },
}

/// Several authenticators. The first one that recognises a token determines the caller.
pub struct AnyOf(pub Vec<Arc<dyn Authenticator>>);

opaque!(AnyOf);

#[async_trait]
impl Authenticator for AnyOf {
    async fn authenticate(&self, token: &str) -> Result<Option<Caller>, NotAuthenticated> {
        for one in &self.0 {
            if let Some(caller) = one.authenticate(token).await? {
                return Ok(Some(caller));
            }
        }
        Ok(None)
    }

    async fn is_alive(&self, caller: &Caller) -> Result<bool, StoreError> {
        for one in &self.0 {
            if one.is_alive(caller).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use doorstep_domain::{Timestamp, TokenHash};

    use super::*;

    fn knows(token: &'static str) -> Arc<dyn Authenticator> {
        let caller = Caller {
            user_id: token.parse().unwrap(),
            session: TokenHash::new([7; 32]),
            by: LetInBy::Session,
            expires_at: Timestamp::MAX,
        };
        let mut one = MockAuthenticator::new();
        one.expect_authenticate()
            .returning(move |shown| Ok((shown == token).then(|| caller.clone())));
        Arc::new(one)
    }

    #[tokio::test]
    async fn a_token_that_one_of_them_recognises_is_enough() {
        let both = AnyOf(vec![knows("ada"), knows("bob")]);
        for name in ["ada", "bob"] {
            let caller = both.authenticate(name).await.unwrap().unwrap();
            assert_eq!(caller.user_id.to_string(), name);
        }
        assert_eq!(both.authenticate("eve").await.unwrap(), None);
    }
}
