//! Both stores keep the promises of the ports, and report why they cannot be opened.

mod opening;
mod pooler;
mod trouble;

use std::sync::Arc;

use async_trait::async_trait;
use doorstep_adapters::sql::{Store, connect};
use doorstep_domain::{
    EntryId, EntryKind, LedgerEntry, Money, NewUser, Notification, NotificationId, PasswordHash,
    Payload, Session, Timestamp, TokenHash, Ttl, User, UserId,
};
use doorstep_tests::contract::Reopens;
use doorstep_tests::postgres::Postgres;
use tempfile::TempDir;
use uuid::Uuid;

/// A fresh store for one test.
struct Fresh {
    store: Arc<Store>,
    url: String,
    _directory: Option<TempDir>,
}

impl Fresh {
    async fn open(url: String, directory: Option<TempDir>) -> Self {
        let store = Arc::new(connect(&url).await.unwrap());
        Self { store, url, _directory: directory }
    }

    async fn sqlite_file() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/door step.db", directory.path().display());
        Self::open(url, Some(directory)).await
    }

    async fn sqlite_memory() -> Self {
        Self::open("sqlite::memory:".to_owned(), None).await
    }

    async fn postgres() -> Self {
        Self::open(Postgres::shared().await.database().await, None).await
    }

    fn store(&self) -> Arc<Store> {
        Arc::clone(&self.store)
    }

    /// The URL for connections that bypass the store.
    fn raw_url(&self) -> String {
        self.url.replace(' ', "%20")
    }
}

#[async_trait]
impl Reopens for Fresh {
    type Store = Store;

    async fn reopen(&mut self) -> Arc<Store> {
        // All calls have returned, so closing writes nothing more. A process that is killed is in `kill.rs`.
        self.store.disconnect().await;
        self.store = Arc::new(connect(&self.url).await.unwrap());
        self.store()
    }
}

fn user_with_session() -> (NewUser, Session) {
    let id = Uuid::now_v7();
    let name = format!("ada{}", &id.simple().to_string()[12..]);
    let user = User {
        id: UserId::from(id),
        username: name.parse().unwrap(),
        created_at: Timestamp::from_micros(7),
    };
    let mut digest = [0; 32];
    digest[..16].copy_from_slice(id.as_bytes());
    let session = Session {
        token: TokenHash::new(digest),
        user_id: user.id.clone(),
        expires_at: Timestamp::MAX,
    };
    (NewUser { user, password: PasswordHash::new("$argon2id$".to_owned()) }, session)
}

/// The user's welcome gift.
fn entry(user_id: &UserId) -> LedgerEntry {
    LedgerEntry {
        id: EntryId::new(Uuid::now_v7()),
        user_id: user_id.clone(),
        kind: EntryKind::WelcomeGift,
        amount: Money::from_minor(100_000),
        reference: user_id.to_string(),
        created_at: Timestamp::from_micros(8),
    }
}

/// This many notifications, each for another user.
pub(crate) fn notifications(count: usize) -> Vec<Notification> {
    let one = |_| Notification {
        id: NotificationId::new(Uuid::now_v7()),
        user_id: UserId::from(Uuid::now_v7()),
        kind: "welcome".parse().unwrap(),
        topic: None,
        payload: Payload::new(&"x".repeat(200)).unwrap(),
        created_at: Timestamp::from_micros(9),
        ttl: Some(Ttl::from_secs(60)),
        trace: None,
    };
    (0..count).map(one).collect()
}

/// One test per suite.
macro_rules! keeps_the_contracts {
    ($module:ident, $fresh:path) => {
        mod $module {
            use doorstep_domain::ports::Readiness;
            use doorstep_tests::contract;

            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn accounts() {
                let fresh = $fresh().await;
                contract::accounts(fresh.store()).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn ledger() {
                let fresh = $fresh().await;
                contract::ledger(fresh.store()).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn positions() {
                let fresh = $fresh().await;
                contract::positions(fresh.store(), fresh.store()).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn lease() {
                let fresh = $fresh().await;
                contract::lease(fresh.store()).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn closing_under_a_lease() {
                let fresh = $fresh().await;
                contract::closing_under_a_lease(fresh.store(), fresh.store(), fresh.store()).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn sessions() {
                let fresh = $fresh().await;
                contract::sessions(fresh.store(), fresh.store()).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn inbox() {
                let fresh = $fresh().await;
                contract::inbox(fresh.store()).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn retention() {
                let fresh = $fresh().await;
                contract::retention(fresh.store(), fresh.store()).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn handover() {
                let fresh = $fresh().await;
                contract::handover(fresh.store()).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn audit() {
                let fresh = $fresh().await;
                contract::audit(fresh.store(), fresh.store(), fresh.store()).await;
            }

            #[tokio::test]
            async fn readiness() {
                let fresh = $fresh().await;
                fresh.store.check().await.unwrap();
                fresh.store.disconnect().await;
                fresh.store.check().await.unwrap_err();
            }
        }
    };
}

keeps_the_contracts!(sqlite_file, Fresh::sqlite_file);
keeps_the_contracts!(sqlite_memory, Fresh::sqlite_memory);
keeps_the_contracts!(postgres, Fresh::postgres);

/// What is written is there after the store was closed and opened again. A database in memory cannot promise that.
mod durable {
    use doorstep_tests::contract;

    use super::*;

    async fn keeps_everything(mut fresh: Fresh) {
        contract::durable_inbox(&mut fresh).await;
        contract::durable_handover(&mut fresh).await;
        contract::durable_accounts(&mut fresh).await;
        contract::durable_ledger(&mut fresh).await;
        contract::durable_sessions(&mut fresh).await;
        contract::durable_positions(&mut fresh).await;
        contract::durable_lease(&mut fresh).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn sqlite_file() {
        keeps_everything(Fresh::sqlite_file().await).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn postgres() {
        keeps_everything(Fresh::postgres().await).await;
    }
}
