use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use doorstep_domain::ports::StoreError;

use crate::sign_ins::SignIns;
use crate::{Caller, LetInBy};

/// Says who shows a token: the port behind which identities come from.
///
/// The sessions of our own users ([`SignIns`]) are one adapter, a backend's own signed tokens another.
#[cfg_attr(test, mockall::automock)]
#[async_trait]
pub trait Authenticator: Send + Sync {
    /// Whose living token this is, if it is one. Whatever is wrong with it, the answer is the same `None`.
    async fn authenticate(&self, token: &str) -> Result<Option<Caller>, NotAuthenticated>;

    /// Whether what let this caller in would still do so. False for whom another authenticator let in.
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

/// It is not known now whose token this is, and may be later.
#[derive(Debug, thiserror::Error)]
pub enum NotAuthenticated {
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keys that verify it cannot be fetched now.
    #[error("the keys that verify tokens cannot be fetched now")]
    KeysAway {
        /// When it is worth another try.
        retry_after: Duration,
    },
}

/// Several authenticators: whoever one of them knows is known. The first that knows a token answers for it.
pub struct AnyOf(pub Vec<Arc<dyn Authenticator>>);

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
    async fn whoever_one_of_them_knows_is_known() {
        let both = AnyOf(vec![knows("ada"), knows("bob")]);
        for name in ["ada", "bob"] {
            let caller = both.authenticate(name).await.unwrap().unwrap();
            assert_eq!(caller.user_id.to_string(), name);
        }
        assert_eq!(both.authenticate("eve").await.unwrap(), None);
    }
}
