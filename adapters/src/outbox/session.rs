use std::time::Duration;

use doorstep_domain::ports::{Fence, SourceError};
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use tokio::sync::{Mutex, MutexGuard};

use super::error::OutboxError;

/// The time limit for connecting, and for the rest of a transaction. Shorter than a lease, so that a network that
/// hangs is noticed before another node takes over.
const PATIENCE: Duration = Duration::from_secs(4);

/// Every transaction begins with this. READ COMMITTED: the consumer must not conflict with serializable writers. A
/// commit need not wait for the disk, because rows lost in a server crash are consumed again. The timeouts keep a
/// hanging node from blocking the lease.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; \
     SET LOCAL statement_timeout = '3s'; SET LOCAL lock_timeout = '3s'; \
     SET LOCAL idle_in_transaction_session_timeout = '3s'";

/// For reading in steps: all of them see the same snapshot, and none takes long.
const BEGIN_STEPS: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
     SET LOCAL statement_timeout = '1s'; SET LOCAL lock_timeout = '1s'; \
     SET LOCAL idle_in_transaction_session_timeout = '3s'";

/// One connection, made when it is needed, and thrown away when anything goes wrong on it.
pub(super) struct DatabaseSession {
    options: PgConnectOptions,
    idle: Mutex<Option<PgConnection>>,
}

/// A transaction under way. Dropped without a commit, it ends with its connection.
pub(super) struct Transaction<'a> {
    pub(super) connection: PgConnection,
    home: MutexGuard<'a, Option<PgConnection>>,
}

/// Whether a commit waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Commit {
    Durable,
    Fast,
}

impl DatabaseSession {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        Self { options, idle: Mutex::new(None) }
    }

    /// Runs these statements as one transaction, in one round trip. Returns the rows of all of them.
    pub(super) async fn run(
        &self,
        commit: Commit,
        statements: &str,
    ) -> Result<Vec<PgRow>, OutboxError> {
        let statements = format!("{statements}; COMMIT");
        let (transaction, rows) = self.start(commit, &statements).await?;
        transaction.keep();
        Ok(rows)
    }

    /// Begins a transaction that only reads, in [`Transaction::step`]s.
    pub(super) async fn begin_steps(&self) -> Result<Transaction<'_>, OutboxError> {
        Ok(self.begin(BEGIN_STEPS).await?.0)
    }

    /// As [`run`](Self::run), while this lease cannot be taken by another node. The statements must do nothing where
    /// [`holds`] is false: another node may have taken it already.
    pub(super) async fn run_under(
        &self,
        fence: Fence,
        statements: &str,
    ) -> Result<Vec<PgRow>, SourceError> {
        let mut rows = self.run(Commit::Fast, &format!("{}; {statements}", lock(fence))).await?;
        let before = rows.len();
        rows.retain(|row| row.try_column("held").is_err());
        if rows.len() == before { Err(SourceError::LeaseLost) } else { Ok(rows) }
    }

    /// Begins a transaction in which this lease cannot be taken by another node, if it has not been already.
    pub(super) async fn begin_under(&self, fence: Fence) -> Result<Transaction<'_>, SourceError> {
        let (transaction, rows) = self.start(Commit::Fast, &lock(fence)).await?;
        if rows.is_empty() {
            transaction.commit().await?;
            return Err(SourceError::LeaseLost);
        }
        Ok(transaction)
    }

    /// Begins a transaction during which no consumer moves rows.
    pub(super) async fn begin_alone(&self) -> Result<Transaction<'_>, OutboxError> {
        let lock = "SELECT 1 FROM doorstep.consumer FOR UPDATE";
        Ok(self.start(Commit::Durable, lock).await?.0)
    }

    async fn start(
        &self,
        commit: Commit,
        statements: &str,
    ) -> Result<(Transaction<'_>, Vec<PgRow>), OutboxError> {
        let fast = match commit {
            Commit::Fast => "; SET LOCAL synchronous_commit = off",
            Commit::Durable => "",
        };
        self.begin(&format!("{BEGIN}{fast}; {statements}")).await
    }

    async fn begin(&self, statements: &str) -> Result<(Transaction<'_>, Vec<PgRow>), OutboxError> {
        let mut home = self.idle.lock().await;
        let idle = home.take();
        let begun = within(async {
            let mut connection = match idle {
                Some(connection) => connection,
                None => PgConnection::connect_with(&self.options).await?,
            };
            let sql = AssertSqlSafe(statements.to_owned());
            let rows = sqlx::raw_sql(sql).fetch_all(&mut connection).await?;
            Ok((connection, rows))
        });
        let (connection, rows) = begun.await?;
        Ok((Transaction { connection, home }, rows))
    }
}

fn lock(fence: Fence) -> String {
    format!("SELECT 1 AS held FROM doorstep.consumer WHERE fence = {} FOR SHARE", fence.0)
}

/// The condition that no later lease was taken.
pub(super) fn holds(fence: Fence) -> String {
    format!("EXISTS (SELECT FROM doorstep.consumer WHERE fence = {})", fence.0)
}

impl Transaction<'_> {
    pub(super) async fn commit(mut self) -> Result<(), OutboxError> {
        within(async { Ok(sqlx::raw_sql("COMMIT").execute(&mut self.connection).await?) }).await?;
        self.keep();
        Ok(())
    }

    /// Reads something. Returns `None` if it took too long; the transaction goes on.
    pub(super) async fn step(&mut self, query: &str) -> Result<Option<Vec<PgRow>>, OutboxError> {
        let step = format!("SAVEPOINT step; {query}; RELEASE step");
        let sql = sqlx::raw_sql(AssertSqlSafe(step));
        let read = within(async { Ok(sql.fetch_all(&mut self.connection).await?) });
        match read.await {
            Ok(rows) => Ok(Some(rows)),
            Err(OutboxError::TooSlow(_)) => {
                let back = sqlx::raw_sql("ROLLBACK TO step");
                within(async { Ok(back.execute(&mut self.connection).await?) }).await?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The transaction has ended; its connection can be reused.
    fn keep(mut self) {
        *self.home = Some(self.connection);
    }
}

/// Limits how long this takes.
pub(super) async fn within<T>(
    work: impl Future<Output = Result<T, OutboxError>>,
) -> Result<T, OutboxError> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => Err(OutboxError::Database("it did not reply in time".to_owned())),
    }
}
