use doorstep_domain::ports::SourceError;

/// Why nothing was done with an outbox, in a sentence that says what to do. None of them repeats the URL: it may hold a
/// password.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The URL is not one of PostgreSQL.
    #[error(
        "the outbox's URL cannot be read ({0}): write it like postgres://user:password@host/database"
    )]
    BadUrl(String),
    /// The database cannot be reached, or refused the connection.
    #[error("the outbox's database: {0}")]
    Database(String),
    /// A statement took longer than it may.
    #[error("the outbox's database: {0}")]
    TooSlow(String),
    /// There is no outbox.
    #[error(
        "there is no outbox in this database: run `doorstep outbox install --url ...` as its owner"
    )]
    NotInstalled,
    /// The role may not do what is needed.
    #[error(
        "the outbox's database: {0}: see `doorstep outbox install --print` for what each role needs"
    )]
    Forbidden(String),
    /// The schema `doorstep` exists, and another program made it.
    #[error(
        "this database has a schema `doorstep` that this program did not make: rename or remove it"
    )]
    Foreign,
    /// A newer program installed it.
    #[error(
        "the outbox was installed by a newer version of this program (its schema is at {0}): run that version or a \
         newer one"
    )]
    Newer(i32),
    /// An older program installed it.
    #[error(
        "the outbox was installed by an older version of this program (its schema is at {0}): run \
         `doorstep outbox install --url ...` to upgrade it"
    )]
    Older(i32),
    /// It holds what would be lost.
    #[error(
        "{0} notifications in the outbox have not ended: they would be lost; add --force to remove it all the same"
    )]
    NotEmpty(u64),
}

impl OutboxError {
    pub(super) fn url(error: &sqlx::Error) -> Self {
        Self::BadUrl(said(error))
    }
}

impl From<sqlx::Error> for OutboxError {
    fn from(error: sqlx::Error) -> Self {
        match code(&error).as_deref() {
            // Undefined table, schema, or column.
            Some("42P01" | "3F000") => Self::NotInstalled,
            Some("42501") => Self::Forbidden(said(&error)),
            // Query canceled, here by `statement_timeout`.
            Some("57014") => Self::TooSlow(said(&error)),
            _ => Self::Database(said(&error)),
        }
    }
}

impl From<OutboxError> for SourceError {
    fn from(error: OutboxError) -> Self {
        match error {
            OutboxError::Database(reason) | OutboxError::TooSlow(reason) => {
                Self::Unavailable(reason)
            }
            error => Self::Unusable(error.to_string()),
        }
    }
}

fn code(error: &sqlx::Error) -> Option<String> {
    error.as_database_error()?.code().map(std::borrow::Cow::into_owned)
}

/// What an error says, in one line.
pub(super) fn said(error: &sqlx::Error) -> String {
    let text = match error {
        sqlx::Error::Database(e) => e.message().to_owned(),
        e => e.to_string(),
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
