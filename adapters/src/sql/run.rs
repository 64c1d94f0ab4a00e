//! How the database is asked: within a time, and again where that is safe.

use std::future::Future;
use std::time::Duration;

use doorstep_domain::ports::StoreError;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::{Any, Transaction};

use super::Store;
use super::error::{failed, may_be_asked_again};

/// A statement with its values.
pub(super) type Query = sqlx::query::Query<'static, Any, AnyArguments>;

/// Longer than the database's own limits on a lock or a statement, so that this one speaks only when nobody
/// answers at all.
const DEADLINE: Duration = Duration::from_secs(15);

/// When a server restarts, each connection in the pool may be a dead one: one try more than there are.
const TRIES: u32 = 17;

impl Store {
    /// The rows that a `SELECT` answers.
    pub(super) async fn rows(
        &self,
        query: impl Fn() -> Query + Send + Sync,
    ) -> Result<Vec<AnyRow>, StoreError> {
        within(again(|| query().fetch_all(&self.readers))).await
    }

    /// The one row that a `SELECT` answers, if it does.
    pub(super) async fn row(
        &self,
        query: impl Fn() -> Query + Send + Sync,
    ) -> Result<Option<AnyRow>, StoreError> {
        within(again(|| query().fetch_optional(&self.readers))).await
    }

    /// Runs one statement **that changes nothing the second time**; says how many rows it changed.
    pub(super) async fn execute(
        &self,
        query: impl Fn() -> Query + Send + Sync,
    ) -> Result<u64, StoreError> {
        let done = within(again(|| query().execute(&self.writers))).await?;
        Ok(done.rows_affected())
    }

    /// A transaction that will write. Dropped without a commit, it changes nothing.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Any>, StoreError> {
        within(again(|| self.writers.begin_with(self.dialect.begin))).await
    }
}

/// Asks until the answer is something else than a broken connection.
async fn again<T, F>(ask: impl Fn() -> F) -> Result<T, sqlx::Error>
where
    F: Future<Output = Result<T, sqlx::Error>>,
{
    let mut tries = 1;
    loop {
        match ask().await {
            Err(e) if may_be_asked_again(&e) && tries < TRIES => tries += 1,
            answer => return answer,
        }
    }
}

/// Waits for the database, but not for ever: a network may swallow the question or the answer.
pub(super) async fn within<T>(
    ask: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(DEADLINE, ask).await {
        Ok(answer) => answer.map_err(failed),
        Err(late) => Err(StoreError::Unavailable(Box::new(late))),
    }
}
