/// The statements that differ between databases.
#[derive(Debug)]
pub(crate) struct Dialect {
    /// The name of the database.
    pub(crate) name: &'static str,
    /// Begins a transaction that will write.
    pub(crate) begin: &'static str,
    /// Begins a transaction that reads a snapshot of the data.
    pub(crate) begin_snapshot: &'static str,
    /// Lifts the time limit on the statements of this transaction, if there is one.
    pub(crate) take_your_time: Option<&'static str>,
    /// Ends a `SELECT` and locks its rows until the commit.
    pub(crate) for_update: &'static str,
    /// The same, but skips rows that are locked already.
    pub(crate) for_update_of_free_rows: &'static str,
    /// The time of the database, in microseconds since 1970.
    pub(crate) now_micros: &'static str,
}
