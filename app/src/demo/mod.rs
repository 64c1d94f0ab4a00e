//! `doorstep demo`: the story of the late client, played for real. For each delivery policy a server of its
//! own on a free port, with a database that is thrown away; clients that register over HTTP, are busy for a
//! while, and open their WebSocket too late. Then one table, and a verdict.

mod act;
mod client;
mod table;

use anyhow::Context;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cli::DemoArgs;
use crate::output;
use act::{Act, Played};

/// Plays all acts and prints the table; fails when a policy broke its promise.
pub(crate) async fn run(args: DemoArgs, stop: CancellationToken) -> anyhow::Result<()> {
    output::line(format_args!(
        "A client registers, and needs {} and up to half a second more until its\n\
         WebSocket is open. The server needs microseconds until it pushes the popup.\n\
         Clients for each policy: {}.\n",
        humantime::format_duration(args.connect_after),
        args.runs,
    ))?;
    let played = tokio::select! {
        played = play_all(&args) => played?,
        () = stop.cancelled() => return Ok(()),
    };
    output::line(table::of(&played))?;
    output::line(table::LEGEND)?;
    let broken: Vec<String> = played.iter().flat_map(Played::broken_promises).collect();
    anyhow::ensure!(broken.is_empty(), "a promise was broken:\n  {}", broken.join("\n  "));
    output::line(format_args!("\n{}", table::moral(&played)))?;
    Ok(())
}

/// All acts at the same time, as each has a server of its own; in the order in which they were listed.
async fn play_all(args: &DemoArgs) -> anyhow::Result<Vec<Played>> {
    let stage = tempfile::tempdir().context("no directory for the demo's databases")?;
    let progress = indicatif::MultiProgress::new();
    let mut acts = JoinSet::new();
    for (position, act) in Act::all().into_iter().enumerate() {
        let database = stage.path().join(format!("{position}.db"));
        let bar = progress.add(indicatif::ProgressBar::new_spinner());
        let (runs, connect_after) = (args.runs, args.connect_after);
        acts.spawn(async move {
            let played = act.play(&database, runs, connect_after, &bar).await;
            bar.finish_and_clear();
            played.map(|played| (position, played))
        });
    }
    let mut played = Vec::new();
    while let Some(act) = acts.join_next().await {
        played.push(act.context("an act of the demo panicked")??);
    }
    played.sort_by_key(|(position, _)| *position);
    Ok(played.into_iter().map(|(_, played)| played).collect())
}
