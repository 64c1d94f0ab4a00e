//! What operators and their tools use: the health check as a command, the messages to systemd, the configuration as a
//! file and as a schema, results as JSON, migrations and databases of earlier versions, backup, retention, completions and man
//! pages, metrics with their alerts, traces, and the files under `app/deploy`.

mod alerts;
mod backup;
mod compose;
mod config;
mod deploy;
pub(crate) mod everything;
mod healthcheck;
mod json;
mod metrics;
mod migrate;
mod paperwork;
mod reload;
mod retention;
mod systemd;
mod tracing;
mod upgrade;

use doorstep_tests::server::SqliteFile;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _};

use doorstep_tests::postgres::Postgres;

/// A database that is removed with the value, if it is a file.
struct Database {
    url: String,
    _file: Option<SqliteFile>,
}

impl Database {
    fn sqlite() -> Self {
        let file = SqliteFile::new();
        Self { url: file.url(), _file: Some(file) }
    }

    async fn postgres() -> Self {
        Self { url: Postgres::shared().await.database().await, _file: None }
    }

    /// Runs statements that Doorstep knows nothing of.
    async fn run(&self, sql: &str) {
        let mut connection = self.connect().await;
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// The result of a query that counts.
    async fn count(&self, sql: &str) -> i64 {
        let mut connection = self.connect().await;
        let count = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection).await;
        connection.close().await.unwrap();
        count.unwrap()
    }

    async fn connect(&self) -> AnyConnection {
        sqlx::any::install_default_drivers();
        let create = if self.url.starts_with("sqlite:") { "?mode=rwc" } else { "" };
        AnyConnection::connect(&format!("{}{create}", self.url)).await.unwrap()
    }
}
