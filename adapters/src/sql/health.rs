//! Whether writes work: the result of the latest write, and a test write if there was none for a while.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use doorstep_domain::Timestamp;
use doorstep_domain::ports::{Readiness, Ready, StoreError};

use super::Store;
use super::error::{Severity, severity};

/// A write that worked less than this ago proves that writes work.
const PROOF: Duration = Duration::from_secs(10);

/// The minimum pause after a failed test write.
const RETRY: Duration = Duration::from_secs(1);

/// The size of a test write after a failed write: larger than the largest notification, because on a full disk a
/// small write may still fit.
const BALLAST: usize = 64 * 1024;

/// The state of a store's writes. Every write reports here.
#[derive(Debug, Default)]
pub(crate) struct WriteHealth {
    latest: Mutex<Latest>,
    /// Held during a test write: one at a time is enough.
    testing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Latest {
    worked: Option<Instant>,
    /// A write has failed since the last one that worked.
    suspect: bool,
    /// When and why the latest test write failed, if it did.
    refused: Option<(Instant, String)>,
    /// Connections that were opened before this are not used any more.
    broke: Option<Instant>,
}

/// What a readiness check must do.
enum WriteVerdict {
    Works,
    Refused(String),
    /// Make a test write of this size.
    Test(usize),
}

impl WriteHealth {
    fn latest(&self) -> MutexGuard<'_, Latest> {
        // After a panic under this lock, the next write corrects the state.
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A write was committed.
    pub(super) fn worked(&self) {
        let mut latest = self.latest();
        *latest = Latest { worked: Some(Instant::now()), broke: latest.broke, ..Latest::default() };
    }

    /// A write failed.
    pub(super) fn failed(&self, error: &sqlx::Error) {
        let severity = severity(error);
        if severity == Severity::Statement {
            return;
        }
        let mut latest = self.latest();
        latest.suspect = true;
        if severity == Severity::Connection {
            latest.broke = Some(Instant::now());
        }
    }

    /// A write was not completed, and the database reported no error.
    pub(super) fn not_done(&self) {
        self.latest().suspect = true;
    }

    /// Whether a connection of this age may be used: it must have been opened after the last failure that broke
    /// connections.
    pub(crate) fn may_use(&self, age: Duration) -> bool {
        let opened = Instant::now().checked_sub(age);
        match (self.latest().broke, opened) {
            (Some(broke), Some(opened)) => opened > broke,
            (broke, _) => broke.is_none(),
        }
    }

    fn verdict(&self) -> WriteVerdict {
        let latest = self.latest();
        match &latest.refused {
            Some((at, why)) if at.elapsed() < RETRY => WriteVerdict::Refused(why.clone()),
            _ if latest.suspect => WriteVerdict::Test(BALLAST),
            _ if latest.worked.is_some_and(|at| at.elapsed() < PROOF) => WriteVerdict::Works,
            _ => WriteVerdict::Test(0),
        }
    }

    fn refused(&self, why: String) {
        let mut latest = self.latest();
        latest.suspect = true;
        latest.refused = Some((Instant::now(), why));
    }
}

#[async_trait::async_trait]
impl Readiness for Store {
    async fn check(&self) -> Result<Ready, StoreError> {
        self.same_file()?;
        // Reads a table, so that the file or the server's disk is really accessed: this one always exists and is
        // never empty.
        self.rows(|| sqlx::query("SELECT version FROM _sqlx_migrations LIMIT 1")).await?;
        if !matches!(self.health.verdict(), WriteVerdict::Test(_)) {
            return self.answer().map(|()| Ready::Fully);
        }
        let _alone = self.health.testing.lock().await;
        // The previous test write may have settled it.
        if let WriteVerdict::Test(weight) = self.health.verdict()
            && let Err(error) = self.test_write(weight).await
        {
            self.health.refused(error.to_string());
            return Err(error);
        }
        self.answer().map(|()| Ready::Fully)
    }
}

impl Store {
    fn answer(&self) -> Result<(), StoreError> {
        match self.health.verdict() {
            WriteVerdict::Refused(why) => Err(StoreError::Unavailable(why.into())),
            WriteVerdict::Works | WriteVerdict::Test(_) => Ok(()),
        }
    }

    /// Commits a write of about this size. The row is the same each time, so nothing grows.
    async fn test_write(&self, weight: usize) -> Result<(), StoreError> {
        let ballast = "x".repeat(weight);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = Timestamp::default() + now.unwrap_or_default();
        let mut write = self.begin().await?;
        let query = sqlx::query(
            "INSERT INTO readiness (id, tested_at, ballast) VALUES (1, $1, $2) \
             ON CONFLICT (id) DO UPDATE SET tested_at = excluded.tested_at, ballast = excluded.ballast",
        );
        write.execute(query.bind(now.as_micros()).bind(ballast)).await?;
        write.commit().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_were_open_when_a_write_broke_are_not_used_again() {
        let health = WriteHealth::default();
        assert!(health.may_use(Duration::MAX));
        health.failed(&sqlx::Error::BeginFailed);
        assert!(!health.may_use(Duration::from_secs(1)));
        health.worked();
        assert!(!health.may_use(Duration::from_secs(1)), "the connection is still older");
        std::thread::sleep(Duration::from_millis(1));
        assert!(health.may_use(Duration::ZERO));
    }

    #[test]
    fn a_write_that_worked_needs_no_test_and_one_that_failed_needs_a_heavy_one() {
        let health = WriteHealth::default();
        assert!(matches!(health.verdict(), WriteVerdict::Test(0)));
        health.worked();
        assert!(matches!(health.verdict(), WriteVerdict::Works));
        health.not_done();
        assert!(matches!(health.verdict(), WriteVerdict::Test(BALLAST)));
        health.refused("full".to_owned());
        assert!(matches!(health.verdict(), WriteVerdict::Refused(why) if why == "full"));
        health.worked();
        assert!(matches!(health.verdict(), WriteVerdict::Works));
    }
}
