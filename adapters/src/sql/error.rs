use doorstep_domain::ports::StoreError;
use sqlx::Error;
use sqlx::error::DatabaseError;

/// Classifies a database failure by what the caller can do: try again, or have somebody look at it.
pub(super) fn failed(error: Error) -> StoreError {
    let corrupt = match &error {
        Error::Database(e) => will_always_fail(e.as_ref()),
        Error::ColumnDecode { .. }
        | Error::ColumnNotFound(_)
        | Error::ColumnIndexOutOfBounds { .. }
        | Error::Decode(_)
        | Error::Encode(_)
        | Error::TypeNotFound { .. }
        | Error::AnyDriverError(_)
        | Error::RowNotFound => true,
        _ => false,
    };
    if corrupt {
        StoreError::Corrupt(error.to_string())
    } else {
        StoreError::Unavailable(Box::new(error))
    }
}

/// Whether the connection broke during a statement, or the database asks for a retry. A statement that changes
/// nothing the second time may then be repeated.
pub(super) fn may_be_asked_again(error: &Error) -> bool {
    match error {
        Error::Io(_) | Error::Protocol(_) | Error::WorkerCrashed => true,
        // Connection exceptions, the server's shutdown, serialization failures and deadlocks.
        Error::Database(e) => e.code().is_some_and(|code| {
            code.starts_with("08")
                || matches!(&*code, "57P01" | "57P02" | "57P03" | "40001" | "40P01")
        }),
        _ => false,
    }
}

/// How much a failed write affects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    /// Only the statement: the database is fine.
    Statement,
    /// The store: the next write may fail too.
    Store,
    /// The store, and the connection must not be used again, even if the next write would succeed.
    Connection,
}

/// Returns how much this failure affects.
///
/// SQLite ends a transaction by itself when it is out of memory or disk, or cannot read or write its file
/// (<https://sqlite.org/lang_transaction.html>), and the driver does not learn that. A file that could only be
/// opened for reading stays read-only for its connection. PostgreSQL refuses writes with 25006 on a server that is
/// no longer the primary: only a new connection can reach the current one.
pub(super) fn severity(error: &Error) -> Severity {
    match error {
        Error::BeginFailed | Error::InvalidSavePointStatement | Error::WorkerCrashed => {
            Severity::Connection
        }
        Error::Database(e) => match e.code().as_deref() {
            Some("25006") => Severity::Connection,
            // Bad data and broken constraints.
            Some(code) if code.len() == 5 && (code.starts_with("22") || code.starts_with("23")) => {
                Severity::Statement
            }
            Some(code) if code.len() == 5 => Severity::Store,
            code => match code.and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff) {
                // TOOBIG, CONSTRAINT, MISMATCH, RANGE.
                Some(18 | 19 | 20 | 25) => Severity::Statement,
                // BUSY, LOCKED: another process writes.
                Some(5 | 6) => Severity::Store,
                _ => Severity::Connection,
            },
        },
        _ => Severity::Store,
    }
}

/// Whether a statement with this error always fails. PostgreSQL's codes have five characters (its Appendix A).
/// SQLite's are numbers of at most four digits; the lowest byte is the primary code (sqlite.org/rescode.html).
fn will_always_fail(error: &dyn DatabaseError) -> bool {
    let Some(code) = error.code() else { return false };
    if code.len() == 5 {
        // Bad data, broken constraints, a different schema, corrupted pages.
        ["22", "23", "42", "P0", "XX"].iter().any(|class| code.starts_with(class))
    } else {
        // ERROR (for example a different schema), CORRUPT, TOOBIG, CONSTRAINT, MISMATCH, RANGE, NOTADB.
        code.parse().is_ok_and(|code: u32| matches!(code & 0xff, 1 | 11 | 18 | 19 | 20 | 25 | 26))
    }
}

/// The error for a row with invalid content.
pub(super) fn unreadable(what: &str, why: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("{what}: {why}"))
}
