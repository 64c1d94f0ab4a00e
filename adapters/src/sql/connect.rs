use std::fmt;
use std::path::PathBuf;

use super::{MigrationPlan, Store};

/// Opens the database that the URL names and migrates its schema. Creates a SQLite file if it is missing.
///
/// `sqlite://path/of/file.db`, `sqlite::memory:` (lost with the store), or
/// `postgres://user:password@host:port/database`.
pub async fn connect(url: &str) -> Result<Store, ConnectError> {
    connect_to(url, Tables::All, Sharing::Shared).await
}

/// Whether other processes may use the same database at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Other processes may use it, such as an audit of a running node's database.
    Shared,
    /// A database file is reserved for one serving process: a second one is refused with [`ConnectError::InUse`].
    /// A database server is always shared.
    Alone,
}

/// Which tables to create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tables {
    /// All tables.
    All,
    /// Only those of the inbox and the handover. Calls of ports that need other tables fail.
    OfDelivery,
}

/// The same as [`connect`], with a choice of tables and sharing. Existing tables stay, and missing ones can be
/// created later.
pub async fn connect_to(
    url: &str,
    tables: Tables,
    #[cfg_attr(not(feature = "sqlite"), expect(unused_variables))] sharing: Sharing,
) -> Result<Store, ConnectError> {
    match url.split_once(':').map(|(scheme, _)| scheme) {
        #[cfg(feature = "sqlite")]
        Some("sqlite") => crate::sqlite::open(url, tables, sharing).await,
        #[cfg(feature = "postgres")]
        Some("postgres" | "postgresql") => crate::postgres::open(url, tables).await,
        #[cfg(not(feature = "sqlite"))]
        Some("sqlite") => Err(ConnectError::NotBuiltIn("sqlite")),
        #[cfg(not(feature = "postgres"))]
        Some("postgres" | "postgresql") => Err(ConnectError::NotBuiltIn("postgres")),
        _ => Err(ConnectError::UnknownScheme),
    }
}

/// Says what [`connect_to`] would do to the schema. Changes nothing, and creates no file.
pub async fn plan(url: &str, tables: Tables) -> Result<MigrationPlan, ConnectError> {
    match url.split_once(':').map(|(scheme, _)| scheme) {
        #[cfg(feature = "sqlite")]
        Some("sqlite") => crate::sqlite::plan(url, tables).await,
        #[cfg(feature = "postgres")]
        Some("postgres" | "postgresql") => crate::postgres::plan(url, tables).await,
        #[cfg(not(feature = "sqlite"))]
        Some("sqlite") => Err(ConnectError::NotBuiltIn("sqlite")),
        #[cfg(not(feature = "postgres"))]
        Some("postgres" | "postgresql") => Err(ConnectError::NotBuiltIn("postgres")),
        _ => Err(ConnectError::UnknownScheme),
    }
}

/// Why a store could not be opened, in a sentence that says what to do. No variant contains the URL, because it
/// may contain a password.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL's scheme is unknown.
    #[error(
        "the database URL begins with neither sqlite: nor postgres: - write it like \
         sqlite://doorstep.db or postgres://user:password@host/database"
    )]
    UnknownScheme,
    /// This program was built without support for the database.
    #[error(
        "this program was built without support for that database: build it with the feature {0}"
    )]
    NotBuiltIn(&'static str),
    /// The URL cannot be read.
    #[error(
        "the database URL cannot be read ({0}): special characters in its parts, the password \
         above all, must be percent-encoded"
    )]
    BadUrl(String),
    /// The server cannot be reached.
    #[error(
        "the database server at {place} cannot be reached ({reason}): is it running, and is the address right?"
    )]
    Unreachable {
        /// Host and port, or the socket's path.
        place: String,
        /// What the attempt ended with.
        reason: String,
    },
    /// A connection pooler answers, in a mode that this program cannot use.
    #[error("the connection pooler at {place} {reason}: {remedy}")]
    Pooler {
        /// Host and port, or the socket's path.
        place: String,
        /// What the pooler does or says.
        reason: String,
        /// What to change.
        remedy: &'static str,
    },
    /// The server was reached, but no connection that `sslmode` allows was established.
    #[error(
        "no TLS with the database server at {place} ({reason}): check sslmode and sslrootcert in the URL"
    )]
    Tls {
        /// Host and port, or the socket's path.
        place: String,
        /// What the attempt ended with.
        reason: String,
    },
    /// The server refused the user or the password.
    #[error(
        "the database server at {place} refused user {user:?}: check user and password in the URL"
    )]
    Refused {
        /// Host and port, or the socket's path.
        place: String,
        /// The user name.
        user: String,
    },
    /// The server has no such database.
    #[error(
        "the server at {place} has no database {database:?}: make it with `createdb {database}`, or name another"
    )]
    NoDatabase {
        /// Host and port, or the socket's path.
        place: String,
        /// The unknown name.
        database: String,
    },
    /// The file cannot be opened for writing.
    #[error(
        "the database file {} cannot be opened for writing ({reason}): check that its folder exists \
         and that you may write there", path.display()
    )]
    NotWritable {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        reason: String,
    },
    /// Another process serves from the file.
    #[error(
        "the database file {} is in use by {}: only one process may serve from a SQLite file; stop that one, \
         or name another database", path.display(), process(*holder)
    )]
    InUse {
        /// The file.
        path: PathBuf,
        /// The process that has locked it, if it is known.
        holder: Option<u32>,
    },
    /// The file is not a SQLite database.
    #[error("{} is not a SQLite database: name another file", .0.display())]
    NotADatabase(PathBuf),
    /// The schema is from a newer version of this program.
    #[error(
        "the database was used by a newer version of this program (its schema is at {0}): run that \
         version or a newer one, or name another database"
    )]
    Newer(i64),
    /// The schema could not be migrated.
    #[error(
        "the database's schema could not be brought up to date ({0}): has somebody else changed it?"
    )]
    Schema(String),
    /// The database was reached, but reported an error.
    #[error("the database reports an error ({0})")]
    Broken(String),
}

fn process(holder: Option<u32>) -> String {
    holder.map_or_else(|| "another process".to_owned(), |id| format!("the process {id}"))
}

/// The text of an error, in one line.
pub(crate) fn said(error: &impl fmt::Display) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
