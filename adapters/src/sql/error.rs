use doorstep_domain::ports::StoreError;
use sqlx::Error;
use sqlx::error::DatabaseError;

/// What the caller can do about a failure of the database: try again, or have somebody look.
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

/// Whether the connection broke under a statement, or the database asks for another try: what changes
/// nothing the second time may then be asked again.
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

/// How far a failed write reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    /// The statement was wrong; the database is well.
    Statement,
    /// The next write may fail too.
    Store,
    /// As before, and the connection must not be used again, even if the next write would work.
    Connection,
}

/// How far this failure reaches.
///
/// SQLite ends a transaction by itself when it is out of memory or disk, or cannot read or write its file
/// (<https://sqlite.org/lang_transaction.html>), and the driver does not learn that; and a file that could only be opened
/// for reading stays so for the connection that opened it. PostgreSQL refuses writes with 25006 on a server that
/// was a primary: only a new connection can reach the server that is one now.
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
                // BUSY, LOCKED: somebody else writes.
                Some(5 | 6) => Severity::Store,
                _ => Severity::Connection,
            },
        },
        _ => Severity::Store,
    }
}

/// PostgreSQL's codes have five characters (its Appendix A), SQLite's are numbers of at most four digits
/// whose lowest byte is the primary code (sqlite.org/rescode.html).
fn will_always_fail(error: &dyn DatabaseError) -> bool {
    let Some(code) = error.code() else { return false };
    if code.len() == 5 {
        // Bad data, broken constraints, a schema that is not ours, corrupted pages.
        ["22", "23", "42", "P0", "XX"].iter().any(|class| code.starts_with(class))
    } else {
        // ERROR (as in a schema that is not ours), CORRUPT, TOOBIG, CONSTRAINT, MISMATCH, RANGE, NOTADB.
        code.parse().is_ok_and(|code: u32| matches!(code & 0xff, 1 | 11 | 18 | 19 | 20 | 25 | 26))
    }
}

/// A row says something that nobody can have written.
pub(super) fn unreadable(what: &str, why: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("{what}: {why}"))
}
