/// Why the log cannot be used, in a sentence that says what to do. None of them repeats a secret.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// The name cannot be part of a stream's name.
    #[error("a log's name is 1 to 32 ASCII letters, digits, hyphens and underscores")]
    BadName,
    /// No server can be reached.
    #[error("no NATS server can be reached ({0}): check its address, and that it runs")]
    Unreachable(String),
    /// The servers do not know us, or we cannot read who we are.
    #[error("the NATS server does not let us in ({0}): check the credentials")]
    Credentials(String),
    /// The server cannot keep the log's promises.
    #[error("nats-server {found} is too old: this program needs {needed} or newer")]
    TooOld {
        /// The server's version.
        found: String,
        /// The oldest version that passes the log's contract.
        needed: String,
    },
    /// The server has no streams.
    #[error(
        "JetStream is not enabled ({0}): start nats-server with -js, or enable JetStream for our account"
    )]
    NoJetStream(String),
    /// The stream exists and has other settings.
    #[error("the stream {stream} has other settings ({differences}): {mend}")]
    OtherStream {
        /// Its name.
        stream: String,
        /// What differs.
        differences: String,
        /// What mends it.
        mend: String,
    },
    /// It did not work, and may work later.
    #[error("the log is unavailable: {0}")]
    Unavailable(String),
}
