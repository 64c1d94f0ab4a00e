//! The command line: commands, flags and their help.

mod operate;

use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::backends::{KEY_NAME, is_key_name};
use crate::config::{SettingKey, Sources};

pub(crate) use operate::{AuditArgs, MigrateArgs, ResultFormat, StoryArgs};

/// Pushes that wait at the door.
///
/// A trading-simulation backend whose notifications reach a user over WebSocket even when the event is faster
/// than the user's connection. Without a command, it serves.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
}

const EXAMPLES: &str = "\
Examples:
  doorstep                                    serve on 127.0.0.1:3000, data in ./doorstep.db
  doorstep demo                               show what each delivery policy does to a late client
  DATABASE_URL=postgres://me@db/doorstep doorstep --listen 0.0.0.0:8080
  DOORSTEP_DELIVERY__TTL=5s doorstep          every key of the file has an environment form
  doorstep config                             print the settings in effect, and where each came from
  doorstep simulate --users 50 --minutes 2    simulate users of a running server, and count lost popups
  doorstep listen --token TOKEN               print the notifications of a user
  doorstep story ID                           what happened to a notification: did it arrive?
  doorstep healthcheck                        exit code 0 only if the node is ready
  doorstep audit                              check the ledger; exit code 1 if something is wrong
  doorstep migrate --plan                     which migrations a start would run

Exit codes: 0 stopped as asked, 1 failed, 2 wrong usage or configuration; `migrate --plan` has more.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve (also what a bare `doorstep` does)
    Serve,
    /// Play the story of the late client with every delivery policy, and print what happened to the popup
    Demo(DemoArgs),
    /// Simulate many users of a running server, and count the popups that they missed
    Simulate(SimulateArgs),
    /// Print the notifications of a user, one line each; reconnects when the connection ends
    Listen(ListenArgs),
    /// Print what happened to a notification, step by step: did it arrive?
    Story(StoryArgs),
    /// Check the ledger: one welcome gift per user, and each balance is the sum of its entries
    Audit(AuditArgs),
    /// Bring the schema of the database up to date, or say with --plan what that would do
    Migrate(MigrateArgs),
    /// Make service keys, with which other backends publish notifications
    #[command(subcommand)]
    Key(KeyCommand),
    /// Install, look at or remove the outbox in a backend's own PostgreSQL database
    #[command(subcommand)]
    Outbox(OutboxCommand),
    /// Print the configuration in effect as a file, with the source of each setting
    Config(ConfigArgs),
    /// Ask a node whether it is ready; exit code 0 only then
    Healthcheck(HealthcheckArgs),
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the man pages into a folder
    Man {
        /// The folder, which must exist
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

// The environment and the defaults are not given to clap, because the file comes between them: see `config`.
const LISTEN: &str =
    "Where to serve; port 0 picks a free one [env: DOORSTEP_LISTEN] [default: 127.0.0.1:3000]";
const DATABASE: &str = "Where the data is: sqlite://FILE or postgres://USER:PASSWORD@HOST/DATABASE \
     [env: DATABASE_URL] [default: sqlite://doorstep.db]";
const CONFIG: &str =
    "The configuration file [env: DOORSTEP_CONFIG] [default: doorstep.toml, if there is one]";

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Print a new key, and the line of the configuration that makes it valid
    #[command(after_help = "\
Example:
  doorstep key new shop                       the key, and its line for [keys] in doorstep.toml
  kill -HUP PID                               a running server reads [keys] again")]
    New {
        /// The name of the backend: lower-case letters, digits and underscores
        #[arg(value_parser = key_name)]
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum OutboxCommand {
    /// Create the schema `doorstep` with its tables and the function `doorstep.publish`, or upgrade them
    #[command(after_help = OUTBOX_EXAMPLES)]
    Install {
        /// The backend's database: `postgres://USER:PASSWORD@HOST/DATABASE`
        #[arg(
            long,
            value_name = "URL",
            env = "DOORSTEP_OUTBOX__URL",
            hide_env_values = true,
            required_unless_present = "print"
        )]
        url: Option<Token>,
        /// Print the SQL instead of running it
        #[arg(long)]
        print: bool,
        /// Do not wake the consumer by NOTIFY, whose lock at commit slows down many concurrent writers
        #[arg(long)]
        no_notify: bool,
    },
    /// Show how many notifications wait, and how long the oldest has waited
    Status {
        #[command(flatten)]
        place: OutboxPlace,
    },
    /// Remove the schema `doorstep`
    Uninstall {
        #[command(flatten)]
        place: OutboxPlace,
        /// Also if notifications in it have not ended: they are lost
        #[arg(long)]
        force: bool,
    },
}

/// Which outbox is meant.
#[derive(Debug, Args)]
pub(crate) struct OutboxPlace {
    /// The backend's database: `postgres://USER:PASSWORD@HOST/DATABASE`
    #[arg(long, value_name = "URL", env = "DOORSTEP_OUTBOX__URL", hide_env_values = true)]
    pub(crate) url: Token,
}

const OUTBOX_EXAMPLES: &str = "\
Example:
  doorstep outbox install --url postgres://owner@db/shop
  doorstep outbox install --print              for a migration of your own, with the grants for both roles";

fn key_name(text: &str) -> Result<String, String> {
    if is_key_name(text) { Ok(text.to_owned()) } else { Err(KEY_NAME.to_owned()) }
}

/// The flags of all commands that read the configuration, before or after the command.
#[derive(Debug, Args)]
pub(crate) struct SettingFlags {
    #[arg(long, global = true, value_name = "ADDR", help = LISTEN)]
    listen: Option<String>,
    #[arg(long, global = true, value_name = "URL", help = DATABASE)]
    database: Option<String>,
    #[arg(long, global = true, value_name = "FILE", help = CONFIG)]
    config: Option<PathBuf>,
}

impl Cli {
    /// Parses the command line of this process. Ends the process on wrong usage and on `--help`.
    pub(crate) fn of_this_process() -> Self {
        let cli = Self::parse();
        if let Some(flag) = cli.misplaced() {
            let name = cli.command.as_ref().map_or("serve", Command::name);
            let message = format!("{flag} means nothing to `doorstep {name}`\n");
            Self::command().error(ErrorKind::ArgumentConflict, message).exit();
        }
        cli
    }

    /// Returns a flag that was given and that the command does not read.
    fn misplaced(&self) -> Option<&'static str> {
        let SettingFlags { listen, database, config } = &self.settings;
        let (takes_listen, takes_store) = match self.command {
            None | Some(Command::Serve | Command::Config(_) | Command::Healthcheck(_)) => {
                (true, true)
            }
            Some(Command::Audit(_) | Command::Migrate(_) | Command::Simulate(_)) => (false, true),
            Some(
                Command::Demo(_)
                | Command::Listen(_)
                | Command::Story(_)
                | Command::Key(_)
                | Command::Outbox(_)
                | Command::Completions { .. }
                | Command::Man { .. },
            ) => (false, false),
        };
        let given = [
            ("--listen", listen.is_some() && !takes_listen),
            ("--database", database.is_some() && !takes_store),
            ("--config", config.is_some() && !takes_store),
        ];
        given.into_iter().find_map(|(flag, misplaced)| misplaced.then_some(flag))
    }
}

impl Command {
    fn name(&self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Demo(_) => "demo",
            Self::Simulate(_) => "simulate",
            Self::Listen(_) => "listen",
            Self::Story(_) => "story",
            Self::Audit(_) => "audit",
            Self::Migrate(_) => "migrate",
            Self::Key(_) => "key",
            Self::Outbox(_) => "outbox",
            Self::Config(_) => "config",
            Self::Healthcheck(_) => "healthcheck",
            Self::Completions { .. } => "completions",
            Self::Man { .. } => "man",
        }
    }
}

impl SettingFlags {
    /// Whether `--database` was given.
    pub(crate) fn names_database(&self) -> bool {
        self.database.is_some()
    }

    pub(crate) fn into_sources(self) -> Sources {
        let mut flags = Vec::new();
        if let Some(listen) = self.listen {
            flags.push((SettingKey::new(&["listen"]), "--listen", listen));
        }
        if let Some(database) = self.database {
            flags.push((SettingKey::new(&["database"]), "--database", database));
        }
        // A variable that is not UTF-8 is none of our settings.
        let utf8 = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let environment = std::env::vars_os().filter_map(utf8).collect();
        Sources { environment, flags, file: self.config }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  doorstep config --default > doorstep.toml   every setting with its meaning and default, to be edited
  doorstep config --check --config FILE       every fault of a file; exit code 2 if there is one
  doorstep config --schema                    a JSON Schema, with which editors complete the file")]
pub(crate) struct ConfigArgs {
    /// Print a commented file with every setting and its default
    #[arg(long, conflicts_with_all = ["check", "schema", "json"])]
    pub(crate) default: bool,
    /// Check the configuration, and print all faults; exit code 2 if there is one
    #[arg(long, conflicts_with = "schema")]
    pub(crate) check: bool,
    /// Print a JSON Schema of the configuration file
    #[arg(long, conflicts_with = "json")]
    pub(crate) schema: bool,
    #[command(flatten)]
    pub(crate) format: ResultFormat,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Without --url, the configuration says where the node listens. Its certificate is not checked then, because it is for
the name that clients use. Exit codes: 0 ready, 1 not ready or no answer, 2 wrong usage or configuration.")]
pub(crate) struct HealthcheckArgs {
    /// Another node, such as `http://127.0.0.1:3000`
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Each policy gets a real server of its own and real WebSocket clients that connect too late. The database is a
temporary file, and is removed. Exits with 1 if a policy breaks its promise.")]
pub(crate) struct DemoArgs {
    /// How long a client needs from its registration to its WebSocket, at most 50s
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = connect_after)]
    pub(crate) connect_after: Duration,
    /// How many clients play the story for each policy, at most 50
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=50))]
    pub(crate) runs: u16,
    #[command(flatten)]
    pub(crate) format: ResultFormat,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Users register, connect fast or slowly, come and go, keep several tabs open, and trade. At the end, each of them
compares the popups that they saw with their ledger and their positions. Exits with 1 if a popup is missing or the
ledger is wrong. With --database, the server's own audit is run too.")]
pub(crate) struct SimulateArgs {
    /// How many users, at most 500
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub(crate) users: u32,
    /// For how many minutes, such as 0.5
    #[arg(long, value_name = "M", default_value_t = 1.0, value_parser = minutes)]
    pub(crate) minutes: f64,
    /// The running server
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:3000")]
    pub(crate) url: String,
    /// The same seed gives the same habits and orders
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub(crate) seed: u64,
    /// The server may stop and start again: the users reconnect, and repeat their requests for up to a minute
    #[arg(long)]
    pub(crate) restarts: bool,
    #[command(flatten)]
    pub(crate) format: ResultFormat,
}

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(minutes) if (0.05..=1440.0).contains(&minutes) => Ok(minutes),
        _ => Err("a number of minutes from 0.05 to 1440".to_owned()),
    }
}

/// At most 50 s, because after the TTL of 60 s every policy loses the popup.
fn connect_after(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration <= Duration::from_secs(50) => Ok(duration),
        Ok(_) => Err("at most 50s: the notifications of the demo wait for 60s".to_owned()),
        Err(e) => Err(format!("{e}; a duration is written like \"3s\" or \"500ms\"")),
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  doorstep listen --token TOKEN
  DOORSTEP_TOKEN=TOKEN doorstep listen --url ws://127.0.0.1:3000/v1/ws

Get a token by registering:
  curl -s http://127.0.0.1:3000/v1/users -H 'content-type: application/json' \\
       -d '{\"username\": \"ada\", \"password\": \"correct horse\"}'")]
pub(crate) struct ListenArgs {
    /// The server's WebSocket; its path is /v1/ws unless the URL has one
    #[arg(long, value_name = "URL", default_value = "ws://127.0.0.1:3000/v1/ws")]
    pub(crate) url: String,
    /// The token of the session; safer in the environment, where other users of the machine cannot see it
    #[arg(long, value_name = "TOKEN", env = "DOORSTEP_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<Token>,
    /// Print each notification as the JSON of its frame, one per line
    #[arg(long)]
    pub(crate) json: bool,
}

/// A session token. Never printed.
#[derive(Clone)]
pub(crate) struct Token(pub(crate) String);

impl From<String> for Token {
    fn from(token: String) -> Self {
        Self(token.trim().to_owned())
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_bare_doorstep_takes_what_serve_takes() {
        for args in [
            &["doorstep", "--listen", "[::1]:0"][..],
            &["doorstep", "serve", "--listen", "[::1]:0"],
        ] {
            let cli = Cli::try_parse_from(args).unwrap();
            assert!(matches!(cli.command, None | Some(Command::Serve)));
            assert_eq!(cli.settings.listen.as_deref(), Some("[::1]:0"));
        }
    }

    #[test]
    fn settings_stand_before_or_after_the_command_that_reads_them() {
        for args in [
            &["doorstep", "--config", "x.toml", "config"][..],
            &["doorstep", "config", "--config", "x.toml"],
            &["doorstep", "--config", "x.toml", "audit", "--database", "sqlite://a.db"],
            &["doorstep", "--config", "x.toml", "simulate", "--users", "1"],
        ] {
            let cli = Cli::try_parse_from(args).unwrap();
            assert_eq!((cli.settings.config.is_some(), cli.misplaced()), (true, None), "{args:?}");
        }
        for (args, flag) in [
            (&["doorstep", "--listen", "[::1]:0", "audit"][..], "--listen"),
            (&["doorstep", "demo", "--database", "sqlite://a.db"], "--database"),
            (&["doorstep", "key", "new", "shop", "--config", "x.toml"], "--config"),
        ] {
            assert_eq!(Cli::try_parse_from(args).unwrap().misplaced(), Some(flag), "{args:?}");
        }
    }
}
