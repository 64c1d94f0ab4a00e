//! Both stores keep what the ports promise, and say what is wrong when they cannot be opened.

use std::sync::Arc;

use doorstep_adapters::sql::{Store, connect};
use doorstep_tests::postgres::Postgres;
use tempfile::TempDir;

/// A store of its own for one test.
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
}

/// One test for each suite.
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
            async fn handover() {
                let fresh = $fresh().await;
                contract::handover(fresh.store()).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn audit() {
                let fresh = $fresh().await;
                contract::audit(fresh.store(), fresh.store()).await;
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
