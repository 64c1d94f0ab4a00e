//! Poolers such as `PgBouncer`, which stand between this program and the server.
//!
//! One that lends a server connection for a session is as good as the server. One that lends it for a transaction
//! is not: prepared statements, the lock of the migrations and the time limits belong to a server connection, and
//! would be looked for on another one. It cannot be asked, but it can be seen.

use sqlx::{AnyConnection, Connection, Row};

/// Whether these two connections keep a server connection each, also between transactions.
pub(super) async fn keeps_sessions(
    one: &mut AnyConnection,
    other: &mut AnyConnection,
) -> Result<bool, sqlx::Error> {
    for _ in 0..3 {
        let before = server_process(one).await?;
        // Holds the server connection that the pooler has free: the one that the query before has used.
        let mut transaction = other.begin().await?;
        let held = server_process(&mut transaction).await?;
        if held == before || server_process(one).await? != before {
            return Ok(false);
        }
        transaction.rollback().await?;
    }
    Ok(true)
}

/// The server's process behind a connection. Not prepared, because that is what may fail.
async fn server_process(connection: &mut AnyConnection) -> Result<i32, sqlx::Error> {
    let row = sqlx::raw_sql("SELECT pg_backend_pid()").fetch_one(connection).await?;
    row.try_get(0)
}
