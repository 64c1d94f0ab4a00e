//! SQLite: the embedded default, one file in the working directory.
//!
//! One connection writes, in transactions that take the write lock at their beginning: nobody then finds out
//! in the middle that somebody else writes. Beside it a few connections read, which in WAL mode neither wait
//! for the writer nor make it wait. Another process on the same file is waited for, five seconds long.
//!
//! *Invariant:* a connection on which a write failed is not used again, and neither is one that believes in a
//! transaction that has ended (`pool`).

mod file;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, Connection};

use crate::sql::{
    ConnectError, Dialect, MigrationStep, Sharing, Store, Tables, WriteHealth, migrate, said,
};

pub(crate) use self::file::DatabaseFile;

/// How many read at the same time.
const READERS: u32 = 4;

/// How long one waits for the writer's turn before the store counts as unavailable.
const PATIENCE: Duration = Duration::from_secs(5);

/// First of all the patience with other processes, as what follows needs it. `FULL`: what was committed
/// survives a power cut too, for it is money. The log file does not stay large once it was.
const TUNING: &str = "PRAGMA busy_timeout = 5000; \
     PRAGMA journal_mode = WAL; \
     PRAGMA synchronous = FULL; \
     PRAGMA foreign_keys = ON; \
     PRAGMA journal_size_limit = 67108864;";

/// As the above, for those who only read: a reader that wrote would be a mistake of ours.
const READER_TUNING: &str = "PRAGMA busy_timeout = 5000; \
     PRAGMA query_only = ON;";

const STEPS: [MigrationStep; 5] = [
    (1, "accounts", include_str!("migrations/0001_accounts.sql")),
    (2, "notifications", include_str!("migrations/0002_notifications.sql")),
    (3, "positions", include_str!("migrations/0003_positions.sql")),
    (4, "notifications", include_str!("migrations/0004_readiness.sql")),
    (5, "notifications", include_str!("migrations/0005_claims.sql")),
];

const DIALECT: Dialect = Dialect {
    name: "SQLite",
    begin: "BEGIN IMMEDIATE",
    begin_snapshot: "BEGIN",
    take_your_time: None,
    // Who writes is alone.
    for_update: "",
    for_update_of_free_rows: "",
};

/// Opens the file, making it if it is missing.
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
        // What another connection would open is another, empty database.
        let mut connection = writers.acquire().await.map_err(|e| place.explain(&e))?;
        migrate(&mut connection, &STEPS, tables).await?;
        let readers = writers.clone();
        let (dialect, shared, file) = (&DIALECT, false, None);
        return Ok(Store { writers, readers, dialect, shared, health, file });
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
    Ok(Store { writers, readers, dialect: &DIALECT, shared, health, file })
}

/// The connections. Neither idle nor old ones are closed: they cost nothing, and the last one of a database
/// in memory would take it along.
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
                // Until the rollback that a dropped transaction asked for is done. It fails when SQLite has
                // ended the transaction by itself, and the connection would believe in it for ever.
                connection.ping().await?;
                Ok(!connection.is_in_transaction())
            })
        })
        .connect_lazy_with(place.again.clone())
}

/// Makes the file if it is missing and brings its schema up to date, over a connection of its own: what is
/// wrong with the file is then told as it is, where a pool would try again until it knows only that it
/// took too long.
async fn prepare(
    place: &DatabasePath,
    tables: Tables,
    sharing: Sharing,
) -> Result<(), ConnectError> {
    let explain = |e| place.explain(&e);
    let mut connection = AnyConnection::connect_with(&place.options).await.map_err(explain)?;
    let started = Instant::now();
    while let Err(e) = sqlx::raw_sql(TUNING).execute(&mut connection).await {
        // Turning a new file to WAL does not wait for others who do the same.
        if code(&e) != Some(BUSY) || started.elapsed() > PATIENCE {
            return Err(explain(e));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The write lock, so that of two processes only one makes the schema, and the other finds it made.
    let mut alone = connection.begin_with(DIALECT.begin).await.map_err(explain)?;
    migrate(&mut alone, &STEPS, tables).await?;
    if sharing == Sharing::Alone {
        // SQLite opens a file for reading where it may not write, and says so at the first write only. Whoever
        // serves will write.
        let write = sqlx::query("DELETE FROM readiness WHERE id = 0");
        write.execute(&mut *alone).await.map_err(explain)?;
    }
    alone.commit().await.map_err(explain)?;
    connection.close().await.map_err(explain)
}

/// Where the database is.
struct DatabasePath {
    options: AnyConnectOptions,
    /// To open it when it is there: a file that was deleted is not made again, and empty, in its place.
    again: AnyConnectOptions,
    path: PathBuf,
    in_memory: bool,
}

impl DatabasePath {
    fn read(url: &str) -> Result<Self, ConnectError> {
        // Without the slashes of an authority, a file name may hold what a host name may not.
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
        let (options, again) = (read(url("rwc"))?, read(url("rw"))?);
        Ok(Self { options, again, path: file.into(), in_memory })
    }

    /// What went wrong while opening it (sqlite.org/rescode.html).
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

/// Somebody else holds the lock.
const BUSY: u32 = 5;

/// The primary result code.
fn code(error: &sqlx::Error) -> Option<u32> {
    let code: u32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}

/// What the database says, without what the driver says around it.
fn said_by_database(error: &sqlx::Error) -> String {
    error.as_database_error().map_or_else(|| said(error), |e| e.message().to_owned())
}
