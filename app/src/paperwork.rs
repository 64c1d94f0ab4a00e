//! `doorstep completions` and `doorstep man` write the files that packages install with the binary. They are made from the
//! definition of the command line.

use std::path::Path;

use anyhow::Context;
use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::output;

/// Prints the completions of a shell.
pub(crate) fn completions(shell: Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "doorstep", &mut script);
    output::line(String::from_utf8_lossy(&script).trim_end())
}

/// Writes one page for the binary and one for each command.
pub(crate) fn man(folder: &Path) -> anyhow::Result<()> {
    let command = Cli::command().name("doorstep");
    clap_mangen::generate_to(command, folder)
        .with_context(|| format!("cannot write the man pages into {}", folder.display()))
}
