//! `doorstep outbox install | status | uninstall`: the outbox in a backend's own database.

use std::time::Duration;

use doorstep_adapters::outbox::{self, Installed, Installer};

use crate::cli::{OutboxCommand, OutboxPlace, Token};
use crate::output;

/// Runs the command.
pub(crate) async fn run(command: OutboxCommand) -> anyhow::Result<()> {
    match command {
        OutboxCommand::Install { print: true, no_notify, .. } => {
            output::line(outbox::script(!no_notify).trim_end())
        }
        OutboxCommand::Install { url, no_notify, .. } => {
            let url = url.unwrap_or_else(|| Token(String::new()));
            let installed = Installer::new(&url.0)?.install(!no_notify).await?;
            output::line(match installed {
                Installed::Fresh => "installed the outbox".to_owned(),
                Installed::Upgraded(from) => format!("upgraded the outbox from version {from}"),
                Installed::Again => "the outbox was installed already".to_owned(),
            })?;
            output::remark(
                "\nThe role of the backend needs USAGE on the schema doorstep and EXECUTE on doorstep.publish; what \
                 the role\nof the node needs is at the end of `doorstep outbox install --print`. Then set [outbox] url.",
            );
            Ok(())
        }
        OutboxCommand::Status { place } => {
            let status = installer(&place)?.status().await?;
            let oldest = humantime::format_duration(Duration::from_millis(
                status.oldest.as_millis().try_into().unwrap_or(u64::MAX),
            ));
            output::line(format_args!(
                "waiting    {}\noldest     {oldest}\naccepted   {}\nrejected   {}\nconsumed   {}\nnotify     {}\nversion    {}",
                status.waiting,
                status.accepted,
                status.rejected,
                yes(status.consumed),
                yes(status.notify),
                status.version,
            ))
        }
        OutboxCommand::Uninstall { place, force } => {
            let lost = installer(&place)?.uninstall(force).await?;
            output::line(match lost {
                0 => "removed the outbox".to_owned(),
                lost => format!("removed the outbox, and {lost} notifications with it"),
            })
        }
    }
}

fn installer(place: &OutboxPlace) -> anyhow::Result<Installer> {
    Ok(Installer::new(&place.url.0)?)
}

fn yes(truth: bool) -> &'static str {
    if truth { "yes" } else { "no" }
}
