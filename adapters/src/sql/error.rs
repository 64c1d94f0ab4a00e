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
