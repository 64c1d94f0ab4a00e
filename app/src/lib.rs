//! The binary `doorstep`, as a library: pushes that wait at the door.
//!
//! [`main`] parses the command line, loads the configuration and runs a command. [`composition`] puts the parts
//! together; the parts are in the other crates. The integration tests build nodes with the same
//! [`Core`](composition::Core).

mod audit;
mod cli;
mod client;
pub mod composition;
mod config;
mod config_command;
mod config_to_settings;
mod demo;
mod descriptors;
mod healthcheck;
mod housekeeping;
mod key;
mod listen;
mod memory;
mod migrate;
mod outbox;
mod output;
mod page;
mod paperwork;
mod serve;
mod service_manager;
mod signals;
mod simulate;
mod story;
mod telemetry;

use std::process::ExitCode;

use cli::{Cli, Command, KeyCommand};
use doorstep_adapters::probe::ProbedNode;

use config::{Config, ConfigError, Loaded, LogFilter};
use signals::Later;

/// The exit code of a failure.
const FAILED: u8 = 1;
/// The exit code of wrong usage or configuration. clap uses the same for arguments that it refuses.
const MISUSED: u8 = 2;

/// Runs the command that the arguments of this process name. Returns the exit code.
pub fn main() -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(e) => return complain(FAILED, &format!("cannot start threads: {e}")),
    };
    match runtime.block_on(run(Cli::of_this_process())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => complain(exit_code(&e), &format!("{e:#}")),
    }
}

fn exit_code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<migrate::Planned>() {
        Some(planned) => planned.exit_code(),
        None if error.is::<ConfigError>()
            || error.is::<listen::NoToken>()
            || error.is::<story::NoKey>() =>
        {
            MISUSED
        }
        None => FAILED,
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    let Cli { command, settings } = cli;
    match command.unwrap_or(Command::Serve) {
        Command::Serve => {
            let sources = settings.into_sources();
            let loaded = Config::load(sources.clone())?;
            telemetry::init(&loaded.config.log);
            warn_of_strangers(&loaded);
            memory::warn_of_too_little(&loaded.config);
            descriptors::raise_the_limit(&loaded.config);
            signals::survive_size_limits()?;
            serve::run(&loaded, sources, signals::stop_requested(Later::GoesOn)?).await
        }
        Command::Demo(args) => {
            telemetry::init(&quiet());
            demo::run(args, signals::stop_requested(Later::EndsAtOnce)?).await
        }
        Command::Simulate(args) => {
            telemetry::init(&quiet());
            simulate::run(args, settings, signals::stop_requested(Later::EndsAtOnce)?).await
        }
        Command::Listen(args) => {
            telemetry::init(&quiet());
            listen::run(args, signals::stop_requested(Later::EndsAtOnce)?).await
        }
        Command::Story(args) => {
            telemetry::init(&quiet());
            story::run(args).await
        }
        Command::Audit(args) => {
            let loaded = Config::load(settings.into_sources())?;
            telemetry::init(&quiet());
            audit::run(args, &loaded.config).await
        }
        Command::Migrate(args) => {
            let loaded = Config::load(settings.into_sources())?;
            telemetry::init(&quiet());
            migrate::run(args, &loaded.config).await
        }
        Command::Outbox(command) => {
            telemetry::init(&quiet());
            outbox::run(command).await
        }
        Command::Healthcheck(args) => {
            let node = match args.url {
                Some(url) => ProbedNode::Url(url),
                None => healthcheck::own_node(&Config::load(settings.into_sources())?.config)?,
            };
            healthcheck::run(node).await
        }
        Command::Completions { shell } => paperwork::completions(shell),
        Command::Man { folder } => paperwork::man(&folder),
        Command::Key(KeyCommand::New { name }) => key::new(&name),
        Command::Config(args) => config_command::run(&args, settings),
    }
}

/// The log settings of commands whose output matters more than their log.
fn quiet() -> config::LogConfig {
    let filter = std::env::var("DOORSTEP_LOG").unwrap_or_else(|_| "warn".to_owned());
    config::LogConfig { filter: LogFilter(filter), ..Config::defaults().log }
}

fn warn_of_strangers(loaded: &Loaded) {
    for name in &loaded.strangers {
        tracing::warn!("{name} is in the environment, but is not a setting: see `doorstep config`");
    }
}

fn complain(code: u8, message: &str) -> ExitCode {
    output::remark(format_args!("doorstep: {message}"));
    ExitCode::from(code)
}
