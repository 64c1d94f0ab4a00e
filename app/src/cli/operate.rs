//! The arguments of commands for operators, and of results for programs.

use clap::Args;

/// Whether the result is for people or for programs.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct ResultFormat {
    /// Print the result as JSON, and nothing else to standard output; docs/operate.md lists the fields
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    #[command(flatten)]
    pub(crate) format: ResultFormat,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A start does the same by itself. With --plan, nothing is changed, and the exit code says what a start would do:
0 nothing, 3 run migrations, 4 refuse because the database is newer than this program, 1 refuse for another reason.")]
pub(crate) struct MigrateArgs {
    /// Only print which migrations would run, and which tables they would lock
    #[arg(long)]
    pub(crate) plan: bool,
    #[command(flatten)]
    pub(crate) format: ResultFormat,
}
