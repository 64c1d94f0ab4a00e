//! Running statements: with a deadline, and with retries where they are safe.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use doorstep_domain::ports::StoreError;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::{Any, Transaction};

use super::Store;
use super::error::{failed, may_be_asked_again};
use super::health::WriteHealth;

/// A statement with its values.
pub(super) type Query<'q> = sqlx::query::Query<'q, Any, AnyArguments>;

/// Longer than the database's own limits on locks and statements, so that it only applies when the database does
/// not answer at all.
const DEADLINE: Duration = Duration::from_secs(15);

/// After a restart of the server, each pooled connection may be dead: one try more than there are connections.
const TRIES: u32 = 17;

impl Store {
    /// Returns the rows of a `SELECT`.
    pub(super) async fn rows(
        &self,
        query: impl Fn() -> Query<'static> + Send + Sync,
    ) -> Result<Vec<AnyRow>, StoreError> {
        within(again(|| query().fetch_all(&self.readers))).await.map_err(NotDone::into_error)
    }

    /// Returns the row of a `SELECT`, if there is one.
    pub(super) async fn row(
        &self,
        query: impl Fn() -> Query<'static> + Send + Sync,
    ) -> Result<Option<AnyRow>, StoreError> {
        within(again(|| query().fetch_optional(&self.readers))).await.map_err(NotDone::into_error)
    }

    /// Runs one statement **that changes nothing the second time**, and returns the number of changed rows.
    pub(super) async fn execute(
        &self,
        query: impl Fn() -> Query<'static> + Send + Sync,
    ) -> Result<u64, StoreError> {
        self.same_file()?;
        let done = within(again(|| query().execute(&self.writers))).await;
        let done = done.map_err(|why| why.reported(&self.health))?;
        self.health.worked();
        Ok(done.rows_affected())
    }

    /// Begins a transaction that writes. Dropped without a commit, it changes nothing.
    pub(super) async fn begin(&self) -> Result<Write, StoreError> {
        self.same_file()?;
        let begun = within(again(|| self.writers.begin_with(self.dialect.begin))).await;
        let transaction = begun.map_err(|why| why.reported(&self.health))?;
        Ok(Write { transaction, health: self.health.clone() })
    }
}

/// A transaction that writes. Every failure in it is reported to the store's [`WriteHealth`], which decides
/// whether the connection may be used again: there is no other way to write in a transaction.
pub(super) struct Write {
    transaction: Transaction<'static, Any>,
    health: Arc<WriteHealth>,
}

impl Write {
    /// Runs a statement and returns the number of changed rows.
    pub(super) async fn execute(&mut self, query: Query<'_>) -> Result<u64, StoreError> {
        let done = within(query.execute(&mut *self.transaction)).await;
        Ok(self.report(done)?.rows_affected())
    }

    /// Returns the only row of a statement.
    pub(super) async fn one(&mut self, query: Query<'_>) -> Result<AnyRow, StoreError> {
        let done = within(query.fetch_one(&mut *self.transaction)).await;
        self.report(done)
    }

    /// Returns the row of a statement, if there is one.
    pub(super) async fn optional(
        &mut self,
        query: Query<'_>,
    ) -> Result<Option<AnyRow>, StoreError> {
        let done = within(query.fetch_optional(&mut *self.transaction)).await;
        self.report(done)
    }

    /// Returns the rows of a statement.
    pub(super) async fn all(&mut self, query: Query<'_>) -> Result<Vec<AnyRow>, StoreError> {
        let done = within(query.fetch_all(&mut *self.transaction)).await;
        self.report(done)
    }

    /// Commits the transaction.
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        let done = within(self.transaction.commit()).await;
        done.map_err(|why| why.reported(&self.health))?;
        self.health.worked();
        Ok(())
    }

    fn report<T>(&self, done: Result<T, NotDone>) -> Result<T, StoreError> {
        done.map_err(|why| why.reported(&self.health))
    }
}

/// Why a statement failed, or may have failed.
enum NotDone {
    Failed(sqlx::Error),
    Late(tokio::time::error::Elapsed),
}

impl NotDone {
    fn into_error(self) -> StoreError {
        match self {
            Self::Failed(error) => failed(error),
            Self::Late(late) => StoreError::Unavailable(Box::new(late)),
        }
    }

    fn reported(self, health: &WriteHealth) -> StoreError {
        match &self {
            Self::Failed(error) => health.failed(error),
            Self::Late(_) => health.not_done(),
        }
        self.into_error()
    }
}

/// Repeats the call while connections are broken.
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

/// Limits the wait for the database: a network may swallow a request or its response.
async fn within<T>(ask: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, NotDone> {
    match tokio::time::timeout(DEADLINE, ask).await {
        Ok(answer) => answer.map_err(NotDone::Failed),
        Err(late) => Err(NotDone::Late(late)),
    }
}
