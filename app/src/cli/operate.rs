//! The arguments of commands for operators, and of results for programs.

use clap::Args;

use super::Token;

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

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  DOORSTEP_KEY=dsk_... doorstep story 0192f0c1-2345-7abc-8def-0123456789ab
  DOORSTEP_KEY=dsk_... doorstep story --user ada --url https://door.example.com

A node remembers its latest steps, and forgets the oldest first ([stories] in the configuration).")]
#[command(group(clap::ArgGroup::new("which").args(["id", "user"]).required(true)))]
pub(crate) struct StoryArgs {
    /// The notification's id
    pub(crate) id: Option<String>,
    /// The stories of this user's notifications instead, newest first
    #[arg(long, value_name = "USER", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) user: Option<String>,
    /// The most notifications of the user
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) limit: u32,
    /// The node that accepted it
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:3000")]
    pub(crate) url: String,
    /// A service key of the node; safer in the environment, where other users of the machine cannot see it
    #[arg(long, value_name = "KEY", env = "DOORSTEP_KEY", hide_env_values = true)]
    pub(crate) key: Option<Token>,
    #[command(flatten)]
    pub(crate) format: ResultFormat,
}
