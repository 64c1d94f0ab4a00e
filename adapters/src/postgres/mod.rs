//! PostgreSQL, at a URL like `postgres://user:password@host:port/database`.

mod pooler;

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AnyConnection, AnyPool, Connection};

use crate::sql::{
    ConnectError, Dialect, MigrationPlan, MigrationScripts, Store, Tables, WriteHealth, migrate,
    ran, said,
};

/// The size of the pool. More connections would only wait for each other inside the server.
const CONNECTIONS: u32 = 16;

/// How long to wait for a connection before the store counts as unavailable.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection that was idle for longer is pinged before it is used, because the server may have restarted. A
/// connection in steady use is not: that would double the round trips.
const FRESH: Duration = Duration::from_secs(1);

/// Limits that no statement of ours reaches; one that does holds up others.
const TUNING: &str = "SET application_name = 'doorstep'; \
     SET statement_timeout = '10s'; \
     SET lock_timeout = '5s'; \
     SET idle_in_transaction_session_timeout = '30s';";

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
    name: "PostgreSQL",
    begin: "BEGIN",
    begin_snapshot: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    take_your_time: Some("SET LOCAL statement_timeout = 0"),
    for_update: " FOR UPDATE",
    for_update_of_free_rows: " FOR UPDATE SKIP LOCKED",
    now_micros: "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)",
};

/// Connects to the server and migrates the schema.
pub(crate) async fn open(url: &str, tables: Tables) -> Result<Store, ConnectError> {
    sqlx::any::install_default_drivers();
    let place = DatabaseAddress::read(url)?;
    // A connection of its own: it reports errors as they are, and has no time limits, because migrations may take
    // long.
    let mut connection = place.connect().await?;
    place.refuse_transaction_pooling(&mut connection).await?;
    migrate(&mut connection, &MIGRATIONS, tables).await?;
    connection.close().await.map_err(|e| place.explain(e))?;
    let health = Arc::new(WriteHealth::default());
    let pool = pool(place.any, health.clone());
    Ok(Store {
        writers: pool.clone(),
        readers: pool,
        dialect: &DIALECT,
        shared: true,
        has_one_pool: true,
        health,
        stats: Arc::default(),
        #[cfg(feature = "sqlite")]
        file: None,
    })
}

/// Returns the migrations that [`open`] would run. The session is read-only, so that the server refuses every write.
pub(crate) async fn plan(url: &str, tables: Tables) -> Result<MigrationPlan, ConnectError> {
    sqlx::any::install_default_drivers();
    let place = DatabaseAddress::read(url)?;
    let mut connection = place.connect().await?;
    let read_only = "SET default_transaction_read_only = on";
    sqlx::raw_sql(read_only).execute(&mut connection).await.map_err(|e| place.explain(e))?;
    let find = "SELECT CAST(to_regclass('_sqlx_migrations') AS TEXT)";
    let ran = ran(&mut connection, find).await.map_err(|e| place.explain(e))?;
    connection.close().await.map_err(|e| place.explain(e))?;
    Ok(MigrationPlan::new(&MIGRATIONS, tables, &ran))
}

fn pool(options: AnyConnectOptions, health: Arc<WriteHealth>) -> AnyPool {
    AnyPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(PATIENCE)
        .test_before_acquire(false)
        .before_acquire(move |connection, seen| {
            let may_use = health.may_use(seen.age);
            Box::pin(async move {
                if !may_use {
                    return Ok(false);
                }
                if seen.idle_for > FRESH {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .after_connect(|connection, _| {
            Box::pin(async move { sqlx::raw_sql(TUNING).execute(connection).await.map(drop) })
        })
        .connect_lazy_with(options)
}

/// The address of the database.
struct DatabaseAddress {
    any: AnyConnectOptions,
    /// The same, parsed: it can be shown without the password.
    known: PgConnectOptions,
}

impl DatabaseAddress {
    fn read(url: &str) -> Result<Self, ConnectError> {
        let bad = |e: sqlx::Error| match e {
            sqlx::Error::Configuration(e) => ConnectError::BadUrl(said(&e)),
            e => ConnectError::BadUrl(said(&e)),
        };
        let known = PgConnectOptions::from_str(url).map_err(bad)?;
        // A password with a slash ends the address early, and the rest looks like the database's name.
        if known.get_database().is_some_and(|name| name.contains('@')) {
            return Err(ConnectError::BadUrl("an @ after the address".to_owned()));
        }
        Ok(Self { any: AnyConnectOptions::from_str(url).map_err(bad)?, known })
    }

    fn to_text(&self) -> String {
        match self.known.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", self.known.get_host(), self.known.get_port()),
        }
    }

    async fn connect(&self) -> Result<AnyConnection, ConnectError> {
        match tokio::time::timeout(PATIENCE, AnyConnection::connect_with(&self.any)).await {
            Ok(connection) => connection.map_err(|e| self.explain(e)),
            Err(_) => Err(self.unreachable("no answer within 5 s")),
        }
    }

    async fn refuse_transaction_pooling(
        &self,
        connection: &mut AnyConnection,
    ) -> Result<(), ConnectError> {
        let mut other = self.connect().await?;
        let kept = pooler::keeps_sessions(connection, &mut other).await;
        if kept.map_err(|e| self.explain(e))? {
            return other.close().await.map_err(|e| self.explain(e));
        }
        let place = self.to_text();
        Err(ConnectError::Pooler {
            place,
            reason: "lends server connections per transaction".to_owned(),
            remedy: "set pool_mode = session for this database, or name the server itself",
        })
    }

    /// Explains a refusal by `PgBouncer`, which uses the code of a protocol violation for features that it does
    /// not support.
    fn refused_by_pooler(&self, reason: &str) -> ConnectError {
        let remedy = if reason.contains("startup parameter") {
            "set ignore_startup_parameters = extra_float_digits in its configuration"
        } else {
            "set pool_mode = session for this database, or name the server itself"
        };
        ConnectError::Pooler { place: self.to_text(), reason: format!("says: {reason}"), remedy }
    }

    fn unreachable(&self, reason: &str) -> ConnectError {
        ConnectError::Unreachable { place: self.to_text(), reason: reason.to_owned() }
    }

    /// Explains an error while connecting (PostgreSQL's manual, appendix A).
    fn explain(&self, error: sqlx::Error) -> ConnectError {
        match error {
            // rustls reports TLS errors, above all bad certificates, like this.
            sqlx::Error::Io(e) if e.kind() == std::io::ErrorKind::InvalidData => {
                ConnectError::Tls { place: self.to_text(), reason: said(&e) }
            }
            sqlx::Error::Io(e) => self.unreachable(&said(&e)),
            sqlx::Error::Tls(e) => ConnectError::Tls { place: self.to_text(), reason: said(&e) },
            sqlx::Error::Configuration(e) => ConnectError::BadUrl(said(&e)),
            sqlx::Error::Database(e) => match e.code().as_deref() {
                Some("28000" | "28P01") => ConnectError::Refused {
                    place: self.to_text(),
                    user: self.known.get_username().to_owned(),
                },
                Some("08P01") => self.refused_by_pooler(e.message()),
                Some("3D000") => ConnectError::NoDatabase {
                    place: self.to_text(),
                    database: self
                        .known
                        .get_database()
                        .unwrap_or(self.known.get_username())
                        .to_owned(),
                },
                _ => ConnectError::Broken(e.message().to_owned()),
            },
            e => ConnectError::Broken(said(&e)),
        }
    }
}
