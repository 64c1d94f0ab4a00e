/// The words in which the databases differ.
#[derive(Debug)]
pub(crate) struct Dialect {
    /// What people call it.
    pub(crate) name: &'static str,
    /// Begins a transaction that will write.
    pub(crate) begin: &'static str,
    /// Begins a transaction that reads, and sees the data as of one moment.
    pub(crate) begin_snapshot: &'static str,
    /// Lifts the limit on how long a statement of this transaction may take, where there is one.
    pub(crate) take_your_time: Option<&'static str>,
    /// Ends a `SELECT` whose rows nobody else may change until the commit.
    pub(crate) for_update: &'static str,
    /// The same, leaving out rows that somebody else holds so.
    pub(crate) for_update_of_free_rows: &'static str,
}
