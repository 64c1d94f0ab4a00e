use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use super::error::OutboxError;
use super::session::within;

/// The version that this program installs and consumes.
pub(super) const VERSION: i32 = 1;

const TABLES: &str = include_str!("tables.sql");
const FUNCTION: &str = include_str!("function.sql");
const GRANTS: &str = include_str!("grants.sql");
const UNINSTALL: &str = include_str!("uninstall.sql");
/// The line of the function that wakes the consumer.
const NOTIFY: &str = "    PERFORM pg_notify('doorstep_outbox', '');\n";

/// What is installed.
pub(super) struct Installation {
    pub(super) version: i32,
    pub(super) notify: bool,
}

impl Installation {
    /// From a row that came back as text.
    pub(super) fn read(row: &PgRow) -> Result<Self, OutboxError> {
        Ok(Self { version: row.try_get("version")?, notify: row.try_get("notify")? })
    }
}

/// What an installation has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installed {
    /// Nothing was installed.
    Fresh,
    /// An older version was installed: this one.
    Upgraded(i32),
    /// This version was already installed.
    Again,
}

/// The state of an outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxStatus {
    /// The version that is installed.
    pub version: i32,
    /// Whether publishing wakes the consumer.
    pub notify: bool,
    /// How many rows wait.
    pub waiting: u64,
    /// How long the oldest of them has waited.
    pub oldest: Duration,
    /// How many are accepted and have not ended.
    pub accepted: u64,
    /// How many were rejected and are still kept.
    pub rejected: u64,
    /// Whether a node consumes.
    pub consumed: bool,
}

/// The SQL that installs the outbox, or brings an older one up to date.
pub fn script(notify: bool) -> String {
    let function = if notify { FUNCTION.to_owned() } else { FUNCTION.replace(NOTIFY, "") };
    format!(
        "BEGIN;\n{TABLES}\n{function}\nINSERT INTO doorstep.installation (version, notify) VALUES ({VERSION}, {notify})\n    \
         ON CONFLICT (one) DO UPDATE SET version = excluded.version, notify = excluded.notify;\nCOMMIT;\n\n{GRANTS}"
    )
}

/// Installs, inspects and removes, as the owner of the schema.
pub struct Installer {
    options: PgConnectOptions,
}

impl Installer {
    /// For the database of this URL.
    pub fn new(url: &str) -> Result<Self, OutboxError> {
        let options = PgConnectOptions::from_str(url).map_err(|e| OutboxError::url(&e))?;
        Ok(Self { options })
    }

    /// Installs the outbox, or upgrades it. Refuses an outbox of a newer version, and a schema of this name that
    /// another program made.
    pub async fn install(&self, notify: bool) -> Result<Installed, OutboxError> {
        let mut connection = self.connect().await?;
        // Concurrent installations run one after the other.
        sqlx::raw_sql("SELECT pg_advisory_lock(hashtext('doorstep outbox'))")
            .execute(&mut connection)
            .await?;
        let found = found(&mut connection).await?;
        let done = match found.map(|installation| installation.version) {
            None => Installed::Fresh,
            Some(version) if version > VERSION => return Err(OutboxError::Newer(version)),
            Some(VERSION) => Installed::Again,
            Some(version) => Installed::Upgraded(version),
        };
        sqlx::raw_sql(AssertSqlSafe(script(notify))).execute(&mut connection).await?;
        connection.close().await?;
        Ok(done)
    }

    /// Counts the rows of each table.
    pub async fn status(&self) -> Result<OutboxStatus, OutboxError> {
        let mut connection = self.connect().await?;
        let found = found(&mut connection).await?.ok_or(OutboxError::NotInstalled)?;
        let row = sqlx::query(
            "SELECT (SELECT count(*) FROM doorstep.outbox) AS waiting, \
             (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(called_at)) * 1000000, 0)::bigint \
              FROM doorstep.outbox) AS oldest, \
             (SELECT count(*) FROM doorstep.accepted) AS accepted, \
             (SELECT count(*) FROM doorstep.rejected) AS rejected, \
             (SELECT held_until >= clock_timestamp() FROM doorstep.consumer) AS consumed",
        )
        .persistent(false)
        .fetch_one(&mut connection)
        .await?;
        connection.close().await?;
        let number = |name: &str| -> Result<u64, OutboxError> {
            Ok(u64::try_from(row.try_get::<i64, _>(name)?).unwrap_or(0))
        };
        Ok(OutboxStatus {
            version: found.version,
            notify: found.notify,
            waiting: number("waiting")?,
            oldest: Duration::from_micros(number("oldest")?),
            accepted: number("accepted")?,
            rejected: number("rejected")?,
            consumed: row.try_get("consumed")?,
        })
    }

    /// Removes the outbox. If rows have not ended, only with `force`. Returns the number of these rows.
    pub async fn uninstall(&self, force: bool) -> Result<u64, OutboxError> {
        let mut connection = self.connect().await?;
        found(&mut connection).await?.ok_or(OutboxError::NotInstalled)?;
        let mut transaction = connection.begin().await?;
        // Keeps publishers out until the commit.
        sqlx::raw_sql("LOCK TABLE doorstep.outbox, doorstep.accepted IN ACCESS EXCLUSIVE MODE")
            .execute(&mut *transaction)
            .await?;
        let left: i64 = sqlx::query_scalar(
            "SELECT (SELECT count(*) FROM doorstep.outbox) + (SELECT count(*) FROM doorstep.accepted)",
        )
        .fetch_one(&mut *transaction)
        .await?;
        let left = u64::try_from(left).unwrap_or(0);
        if left > 0 && !force {
            return Err(OutboxError::NotEmpty(left));
        }
        sqlx::raw_sql(UNINSTALL).execute(&mut *transaction).await?;
        transaction.commit().await?;
        connection.close().await?;
        Ok(left)
    }

    async fn connect(&self) -> Result<PgConnection, OutboxError> {
        within(async { Ok(PgConnection::connect_with(&self.options).await?) }).await
    }
}

/// What is installed, if anything.
async fn found(connection: &mut PgConnection) -> Result<Option<Installation>, OutboxError> {
    let row = sqlx::query(
        "SELECT to_regnamespace('doorstep') IS NOT NULL AS schema, \
         to_regclass('doorstep.installation') IS NOT NULL AS ours",
    )
    .persistent(false)
    .fetch_one(&mut *connection)
    .await?;
    match (row.try_get("schema")?, row.try_get("ours")?) {
        (false, _) => return Ok(None),
        (true, false) => return Err(OutboxError::Foreign),
        (true, true) => {}
    }
    let row = sqlx::query("SELECT version, notify FROM doorstep.installation")
        .persistent(false)
        .fetch_optional(&mut *connection)
        .await?;
    row.as_ref().map(Installation::read).transpose()
}
