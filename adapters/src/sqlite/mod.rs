//! SQLite: the embedded default, one file in the working directory.
//!
//! One connection writes, in transactions that take the write lock when they begin, so that none finds out
//! half-way that another process writes. A few more connections read; in WAL mode they neither wait for the writer
//! nor make it wait. Other processes that hold the lock are waited for, up to five seconds.
//!
//! *Invariant:* a connection is not used again after a failed write, or if it assumes a transaction that has ended
//! (`pool`).

mod file;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, Connection};

use crate::sql::{
    ConnectError, Dialect, MigrationPlan, MigrationScripts, Sharing, Store, Tables, WriteHealth,
    migrate, ran, said,
};

pub(crate) use self::file::DatabaseFile;

/// The number of connections that read.
const READERS: u32 = 4;

/// How long to wait for the writing connection before the store counts as unavailable.
const PATIENCE: Duration = Duration::from_secs(5);

/// The busy timeout comes first because the other statements need it. `FULL`: committed data survives a power cut,
/// because it is money. The log file shrinks again after it has been large.
const TUNING: &str = "PRAGMA busy_timeout = 5000; \
     PRAGMA journal_mode = WAL; \
     PRAGMA synchronous = FULL; \
     PRAGMA foreign_keys = ON; \
     PRAGMA journal_size_limit = 67108864;";

/// The same for connections that only read: a write on them would be a bug.
const READER_TUNING: &str = "PRAGMA busy_timeout = 5000; \
     PRAGMA query_only = ON;";

const MIGRATIONS: MigrationScripts = [
    include_str!("migrations/0001_accounts.sql"),
    include_str!("migrations/0002_notifications.sql"),
    include_str!("migrations/0003_positions.sql"),
    include_str!("migrations/0004_readiness.sql"),
    include_str!("migrations/0005_claims.sql"),
    include_str!("migrations/0006_retention.sql"),
    include_str!("migrations/0007_traces.sql"),
    include_str!("migrations/0008_leases.sql"),
];

const DIALECT: Dialect = Dialect {
    name: "SQLite",
    begin: "BEGIN IMMEDIATE",
    begin_snapshot: "BEGIN",
    take_your_time: None,
    // There is only one writer.
    for_update: "",
    for_update_of_free_rows: "",
    now_micros: "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)",
};

/// Opens the file, and creates it if it is missing.
pub(crate) async fn open(
    url: &str,
    tables: Tables,
    sharing: Sharing,
) -> Result<Store, ConnectError> {
    sqlx::any::install_default_drivers();
    let place = DatabasePath::read(url)?;
    let health = Arc::new(WriteHealth::default());
    if place.in_memory {
        let writers = pool(&place, 1, TUNING, &health);
        // Another connection would open another, empty database.
        let mut connection = writers.acquire().await.map_err(|e| place.explain(&e))?;
        migrate(&mut connection, &MIGRATIONS, tables).await?;
        let readers = writers.clone();
        let (dialect, shared, file) = (&DIALECT, false, None);
        let (has_one_pool, stats) = (true, Arc::default());
        return Ok(Store { writers, readers, dialect, shared, has_one_pool, health, stats, file });
    }
    let lock = match sharing {
        Sharing::Shared => None,
        Sharing::Alone => Some(DatabaseFile::lock(&place.path)?),
    };
    prepare(&place, tables, sharing).await?;
    let file = Some(Arc::new(DatabaseFile::locked(&place.path, lock)));
    let writers = pool(&place, 1, TUNING, &health);
    let readers = pool(&place, READERS, READER_TUNING, &health);
    let shared = sharing == Sharing::Shared;
    let (dialect, has_one_pool, stats) = (&DIALECT, false, Arc::default());
    Ok(Store { writers, readers, dialect, shared, has_one_pool, health, stats, file })
}

/// Says which migrations [`open`] would run. Nothing is written, and a missing file is not created.
pub(crate) async fn plan(url: &str, tables: Tables) -> Result<MigrationPlan, ConnectError> {
    sqlx::any::install_default_drivers();
    let place = DatabasePath::read(url)?;
    if place.in_memory || !place.path.exists() {
        return Ok(MigrationPlan::new(&MIGRATIONS, tables, &[]));
    }
    let explain = |e| place.explain(&e);
    let mut connection = AnyConnection::connect_with(&place.to_read).await.map_err(explain)?;
    let find =
        "SELECT MAX(name) FROM sqlite_master WHERE type = 'table' AND name = '_sqlx_migrations'";
    let ran = ran(&mut connection, find).await.map_err(explain)?;
    connection.close().await.map_err(explain)?;
    Ok(MigrationPlan::new(&MIGRATIONS, tables, &ran))
}

/// Makes a pool. Neither idle nor old connections are closed: they cost nothing, and closing the last one of an
/// in-memory database would delete it.
fn pool(
    place: &DatabasePath,
    connections: u32,
    tuning: &'static str,
    health: &Arc<WriteHealth>,
) -> AnyPool {
    let options = AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            Box::pin(async move { sqlx::raw_sql(tuning).execute(connection).await.map(drop) })
        });
    if place.in_memory {
        return options.connect_lazy_with(place.options.clone());
    }
    let health = health.clone();
    options
        .before_acquire(move |_, seen| {
            let may_use = health.may_use(seen.age);
            Box::pin(async move { Ok(may_use) })
        })
        .after_release(|connection, _| {
            Box::pin(async move {
                // Waits for the rollback of a dropped transaction. It fails if SQLite has ended the transaction by
                // itself; the connection would assume the transaction forever.
                connection.ping().await?;
                Ok(!connection.is_in_transaction())
            })
        })
        .connect_lazy_with(place.again.clone())
}

/// Creates the file if it is missing and migrates its schema, over a connection of its own: a pool would retry,
/// and report a timeout instead of what is wrong with the file.
async fn prepare(
    place: &DatabasePath,
    tables: Tables,
    sharing: Sharing,
) -> Result<(), ConnectError> {
    let explain = |e| place.explain(&e);
    let mut connection = AnyConnection::connect_with(&place.options).await.map_err(explain)?;
    let started = Instant::now();
    while let Err(e) = sqlx::raw_sql(TUNING).execute(&mut connection).await {
        // Switching a new file to WAL does not wait for other processes that do the same.
        if code(&e) != Some(BUSY) || started.elapsed() > PATIENCE {
            return Err(explain(e));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Takes the write lock, so that only one of two processes creates the schema, and the other finds it.
    let mut alone = connection.begin_with(DIALECT.begin).await.map_err(explain)?;
    migrate(&mut alone, &MIGRATIONS, tables).await?;
    if sharing == Sharing::Alone {
        // SQLite opens a read-only file without an error, and reports it only at the first write. A process that
        // serves will write.
        let write = sqlx::query("DELETE FROM readiness WHERE id = 0");
        write.execute(&mut *alone).await.map_err(explain)?;
    }
    alone.commit().await.map_err(explain)?;
    connection.close().await.map_err(explain)
}

/// The location of the database.
struct DatabasePath {
    options: AnyConnectOptions,
    /// For an existing file: a deleted file is not created again, empty, in its place.
    again: AnyConnectOptions,
    /// For reading only.
    to_read: AnyConnectOptions,
    path: PathBuf,
    in_memory: bool,
}

impl DatabasePath {
    fn read(url: &str) -> Result<Self, ConnectError> {
        // Without the slashes of an authority, a file name may contain characters that a host name may not.
        let rest = url.trim_start_matches("sqlite:");
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (file, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        if file.is_empty() {
            return Err(ConnectError::BadUrl("it names no file".to_owned()));
        }
        let in_memory = file == ":memory:" || parameters.contains("mode=memory");
        let url = |mode: &str| match parameters {
            _ if in_memory => format!("sqlite:{rest}"),
            "" => format!("sqlite:{file}?mode={mode}"),
            given if given.contains("mode=") => format!("sqlite:{rest}"),
            given => format!("sqlite:{file}?{given}&mode={mode}"),
        };
        let read = |url: String| url.parse().map_err(|e| ConnectError::BadUrl(said(&e)));
        let (options, again, to_read) = (read(url("rwc"))?, read(url("rw"))?, read(url("ro"))?);
        Ok(Self { options, again, to_read, path: file.into(), in_memory })
    }

    /// Explains an error while opening the file (sqlite.org/rescode.html).
    fn explain(&self, error: &sqlx::Error) -> ConnectError {
        let path = self.path.clone();
        match (code(error), error) {
            // READONLY, IOERR, FULL, CANTOPEN.
            (Some(8 | 10 | 13 | 14), e) => {
                ConnectError::NotWritable { path, reason: said_by_database(e) }
            }
            // CORRUPT, NOTADB.
            (Some(11 | 26), _) => ConnectError::NotADatabase(path),
            (_, sqlx::Error::Configuration(e)) => ConnectError::BadUrl(said(e)),
            (_, e) => ConnectError::Broken(said_by_database(e)),
        }
    }
}

/// Another process holds the lock.
const BUSY: u32 = 5;

/// The primary result code.
fn code(error: &sqlx::Error) -> Option<u32> {
    let code: u32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}

/// The database's message, without the driver's additions.
fn said_by_database(error: &sqlx::Error) -> String {
    error.as_database_error().map_or_else(|| said(error), |e| e.message().to_owned())
}
