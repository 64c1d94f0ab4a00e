//! Poolers such as `PgBouncer` between this program and the server.
//!
//! A pooler that lends a server connection for a session is as good as the server. One that lends it for a
//! transaction is not: prepared statements, the lock of the migrations and the time limits belong to one server
//! connection, and would be expected on another one. The pooler's mode cannot be queried, but it can be detected.

use sqlx::{AnyConnection, Connection, Row};

/// Whether each of these two connections keeps its server connection between transactions.
pub(super) async fn keeps_sessions(
    one: &mut AnyConnection,
    other: &mut AnyConnection,
) -> Result<bool, sqlx::Error> {
    for _ in 0..3 {
        let before = server_process(one).await?;
        // Takes the server connection that the pooler has free: the one that the previous query has used.
        let mut transaction = other.begin().await?;
        let held = server_process(&mut transaction).await?;
        if held == before || server_process(one).await? != before {
            return Ok(false);
        }
        transaction.rollback().await?;
    }
    Ok(true)
}

/// The server process behind a connection. The query is not prepared, because preparing is what may fail.
async fn server_process(connection: &mut AnyConnection) -> Result<i32, sqlx::Error> {
    let row = sqlx::raw_sql("SELECT pg_backend_pid()").fetch_one(connection).await?;
    row.try_get(0)
}
