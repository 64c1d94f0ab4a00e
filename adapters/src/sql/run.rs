//! Running statements: with a deadline, and with retries where they are safe.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use doorstep_domain::ports::StoreError;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::{Any, Transaction};

use super::Store;
use super::error::{failed, may_be_asked_again};
use super::health::WriteHealth;
use super::stats::{Operation, StoreStats};

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
        let begun = Instant::now();
        let rows = within(again(|| query().fetch_all(&self.readers))).await;
        let rows = rows.map_err(NotDone::into_error);
        self.stats.count(Operation::Read, begun, &rows);
        rows
    }

    /// Returns the row of a `SELECT`, if there is one.
    pub(super) async fn row(
        &self,
        query: impl Fn() -> Query<'static> + Send + Sync,
    ) -> Result<Option<AnyRow>, StoreError> {
        let begun = Instant::now();
        let row = within(again(|| query().fetch_optional(&self.readers))).await;
        let row = row.map_err(NotDone::into_error);
        self.stats.count(Operation::Read, begun, &row);
        row
    }

    /// Runs one statement **that changes nothing the second time**, and returns the number of changed rows.
    pub(super) async fn execute(
        &self,
        query: impl Fn() -> Query<'static> + Send + Sync,
    ) -> Result<u64, StoreError> {
        self.same_file()?;
        let begun = Instant::now();
        let done = within(again(|| query().execute(&self.writers))).await;
        let done = done.map_err(|why| why.reported(&self.health));
        self.stats.count(Operation::Write, begun, &done);
        let done = done?;
        self.health.worked();
        Ok(done.rows_affected())
    }

    /// Begins a transaction that writes. Dropped without a commit, it changes nothing.
    pub(super) async fn begin(&self) -> Result<Write, StoreError> {
        self.same_file()?;
        let begun = Instant::now();
        let transaction = within(again(|| self.writers.begin_with(self.dialect.begin))).await;
        let transaction = transaction.map_err(|why| why.reported(&self.health));
        self.stats.count(Operation::Begin, begun, &transaction);
        let (health, stats) = (self.health.clone(), self.stats.clone());
        Ok(Write { transaction: transaction?, health, stats, begun })
    }
}

/// A transaction that writes. Every failure in it is reported to the store's [`WriteHealth`], which decides
/// whether the connection may be used again: there is no other way to write in a transaction.
pub(super) struct Write {
    transaction: Transaction<'static, Any>,
    health: Arc<WriteHealth>,
    stats: Arc<StoreStats>,
    begun: Instant,
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
        let done = done.map_err(|why| why.reported(&self.health));
        self.stats.count(Operation::Transaction, self.begun, &done);
        done?;
        self.health.worked();
        Ok(())
    }

    fn report<T>(&self, done: Result<T, NotDone>) -> Result<T, StoreError> {
        let done = done.map_err(|why| why.reported(&self.health));
        if done.is_err() {
            self.stats.count(Operation::Transaction, self.begun, &done);
        }
        done
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
