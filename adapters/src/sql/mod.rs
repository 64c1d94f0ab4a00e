//! The stores behind [`Accounts`], [`Positions`], [`Sessions`], [`Inbox`], [`Retention`], [`Handover`], [`Readiness`], [`Lease`] and [`Audit`], in SQL.
//!
//! Written once, over `sqlx::Any`: one file per port, in statements that both SQLite and PostgreSQL understand.
//! Connecting, tuning, migrations and the few statements that differ (a `Dialect`) are in the folder of each
//! database.
//!
//! Representation: ids and names as text, money as minor units, moments as microseconds since the Unix epoch, TTLs
//! as milliseconds. `seq` is the order in which rows were inserted.
//!
//! *Invariant:* a balance changes only in the transaction that writes the ledger entry for it (`money.rs`).
//! *Invariant:* only a read, a `BEGIN`, or a write that changes nothing the second time is retried automatically;
//! a commit never is (`run.rs`). *Invariant:* each write reports its result (`health.rs`), because readiness and
//! the choice of connections depend on it.
//!
//! [`Accounts`]: doorstep_domain::ports::Accounts
//! [`Positions`]: doorstep_domain::ports::Positions
//! [`Sessions`]: doorstep_domain::ports::Sessions
//! [`Inbox`]: doorstep_domain::ports::Inbox
//! [`Retention`]: doorstep_domain::ports::Retention
//! [`Handover`]: doorstep_domain::ports::Handover
//! [`Readiness`]: doorstep_domain::ports::Readiness
//! [`Audit`]: doorstep_domain::ports::Audit
//! [`Lease`]: doorstep_domain::ports::Lease

mod accounts;
mod audit;
mod batch;
mod connect;
mod dialect;
mod error;
mod handover;
mod health;
mod inbox;
mod leases;
mod migrations;
mod money;
mod notification;
mod positions;
mod run;
mod sessions;
mod stats;
mod text;

use std::fmt;
use std::sync::Arc;

use doorstep_domain::ports::StoreError;
use sqlx::AnyPool;

#[cfg(feature = "sqlite")]
use crate::sqlite::DatabaseFile;

pub(crate) use connect::said;
pub use connect::{ConnectError, Sharing, Tables, connect, connect_to, plan};
pub(crate) use dialect::Dialect;
pub(crate) use health::WriteHealth;
pub use migrations::{MigrationPlan, MigrationState, PlanVerdict, PlannedMigration};
pub(crate) use migrations::{MigrationScripts, migrate, ran};
pub(crate) use stats::StoreStats;

/// A database with all tables. Cheap to clone; made by [`connect()`].
#[derive(Clone)]
pub struct Store {
    /// Connections that may write. Only one if the database allows only one write at a time.
    pub(crate) writers: AnyPool,
    /// Connections that only read.
    pub(crate) readers: AnyPool,
    /// The statements that differ between databases.
    pub(crate) dialect: &'static Dialect,
    /// Whether another process may write to it at the same time.
    pub(crate) shared: bool,
    /// Whether `readers` are the connections of `writers`.
    pub(crate) has_one_pool: bool,
    /// Whether writes work.
    pub(crate) health: Arc<WriteHealth>,
    /// How long operations take.
    pub(crate) stats: Arc<StoreStats>,
    /// The database file, for SQLite.
    #[cfg(feature = "sqlite")]
    pub(crate) file: Option<Arc<DatabaseFile>>,
}

impl Store {
    /// Closes every connection once its work is done. Later calls fail with [`StoreError::Unavailable`].
    pub async fn disconnect(&self) {
        self.readers.close().await;
        self.writers.close().await;
        #[cfg(feature = "sqlite")]
        if let Some(file) = &self.file {
            file.unlock();
        }
    }

    /// Fails if the database file is not the one that was opened: writes to the old one would be lost with the
    /// process.
    #[cfg_attr(
        not(feature = "sqlite"),
        allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "PostgreSQL has no file")
    )]
    fn same_file(&self) -> Result<(), StoreError> {
        #[cfg(feature = "sqlite")]
        if let Some(file) = self.file.as_ref().filter(|file| !file.is_there()) {
            let path = file.path().display();
            let why = format!("the database file {path} was deleted or replaced: start again");
            return Err(StoreError::Unavailable(why.into()));
        }
        Ok(())
    }
}

impl fmt::Debug for Store {
    /// Without the URL, which may contain a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("database", &self.dialect.name).finish_non_exhaustive()
    }
}
