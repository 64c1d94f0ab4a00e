//! `doorstep demo`: the story of the late client, with real servers and clients. Each delivery policy gets a server of
//! its own on a free port, with a temporary database. Its clients register over HTTP and open their WebSocket too late.
//! Then the demo prints one table and a conclusion. (The same story on the page is `app/web/story.js`.)

mod act;
mod client;
mod json;
mod table;

use anyhow::Context;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cli::DemoArgs;
use crate::output;
use act::{Act, PlayedAct};

/// Plays all acts and prints the table, or its figures as JSON. Fails if a policy broke its promise.
pub(crate) async fn run(args: DemoArgs, stop: CancellationToken) -> anyhow::Result<()> {
    if !args.format.json {
        output::line(format_args!(
            "A client registers, and needs {} and up to half a second more until its\n\
             WebSocket is open. The server needs microseconds until it pushes the popup.\n\
             Clients for each policy: {}.\n",
            humantime::format_duration(args.connect_after),
            args.runs,
        ))?;
    }
    let played = tokio::select! {
        played = play_all(&args) => played?,
        () = stop.cancelled() => return Ok(()),
    };
    let broken: Vec<String> = played.iter().flat_map(PlayedAct::broken_promises).collect();
    if args.format.json {
        output::json(&json::of(&args, &played, &broken))?;
    } else {
        output::line(table::of(&played))?;
        output::line(table::LEGEND)?;
    }
    anyhow::ensure!(broken.is_empty(), "a promise was broken:\n  {}", broken.join("\n  "));
    if !args.format.json {
        output::line(format_args!("\n{}", table::conclusion(&played)))?;
    }
    Ok(())
}

/// Plays all acts at the same time, each with its own server. Returns them in their order.
async fn play_all(args: &DemoArgs) -> anyhow::Result<Vec<PlayedAct>> {
    let stage = tempfile::tempdir().context("cannot create a directory for the databases")?;
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
