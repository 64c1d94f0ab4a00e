//! `doorstep simulate`: simulated users of a running server. Users with mixed habits register, connect fast or late,
//! come and go, keep several tabs open, and trade; prices close positions that they leave open. At the end, each user
//! compares their ledger with the popups that they saw, and reports every missing one.
//!
//! | file | what |
//! | --- | --- |
//! | `player` | one user with their tabs, from the registration to the final check |
//! | `habit` | how users connect and disconnect |
//! | `api` | their HTTP requests |
//! | `books` | which popups must have come; whether ledger and positions agree |
//! | `tally`, `outcomes` | what all users saw; what the server counted |
//! | `results`, `table` | all of it for programs, and as a table for people |

mod api;
mod books;
mod habit;
mod outcomes;
mod player;
mod results;
mod table;
mod tally;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use doorstep_adapters::sql;
use doorstep_domain::ports::Audit;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;

use crate::cli::{SettingFlags, SimulateArgs};
use crate::config::Config;
use crate::output;
use player::{Player, PlayerVerdict};
use results::SimulationResults;
use tally::Tally;

/// How long a server may be away between a stop and its next start.
const RESTART: Duration = Duration::from_mins(1);

/// Runs the simulation, prints the table, and fails if a popup was lost or a ledger is wrong.
pub(crate) async fn run(
    args: SimulateArgs,
    settings: SettingFlags,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let length = Duration::from_secs_f64(args.minutes * 60.0);
    let url = api::server_url(&args.url)?;
    let tally = Arc::new(Tally::default());
    let patience = if args.restarts { RESTART } else { Duration::ZERO };
    let before = outcomes::of(&url).await;
    let bar =
        ProgressBar::new_spinner().with_style(ProgressStyle::with_template("{spinner} {msg}")?);
    let (began, over) = (Instant::now(), CancellationToken::new());
    // Somewhat fewer registrations per second than one address may make.
    let mut pace = interval(Duration::from_millis(25));
    let mut players = JoinSet::new();
    let mut verdicts: Vec<PlayerVerdict> = Vec::new();
    let mut tick = interval(Duration::from_millis(250));
    let mut coming = 0..args.users;
    while !coming.is_empty() || !players.is_empty() {
        tokio::select! {
            _ = pace.tick(), if !coming.is_empty() => {
                let Some(number) = coming.next() else { continue };
                let server = (&*url, patience);
                let player = Player::new(number, args.seed, server, tally.clone(), over.clone());
                players.spawn(player.play());
            }
            Some(verdict) = players.join_next() => {
                verdicts.push(verdict.context("a simulated user panicked")??);
            }
            _ = tick.tick() => {
                let remaining = length.saturating_sub(began.elapsed());
                if remaining.is_zero() && !over.is_cancelled() {
                    over.cancel();
                    // Users that have not registered by now do not take part.
                    coming = 0..0;
                }
                bar.set_message(tally.line(remaining));
                bar.tick();
            }
            () = stop.cancelled(), if !over.is_cancelled() => {
                over.cancel();
                coming = 0..0;
            }
        }
    }
    bar.finish_and_clear();

    let mut wrong: Vec<String> = verdicts.iter().flat_map(|v| v.wrong.iter().cloned()).collect();
    if settings.names_database() {
        wrong.extend(audit(settings).await?);
    }
    let outcomes = outcomes::since(before, outcomes::of(&url).await);
    let results = SimulationResults::new(&tally, &verdicts, outcomes, wrong, began.elapsed());
    if args.format.json {
        output::json(&results.to_json())?;
    } else {
        output::line(table::of(&results))?;
        for what in results.lost.iter().chain(&results.wrong).take(20) {
            output::line(format_args!("  {what}"))?;
        }
    }
    let SimulationResults { users, lost, wrong, .. } = results;
    ensure!(users > 0, "no user took part");
    ensure!(lost.is_empty(), "{} popups were lost", lost.len());
    ensure!(wrong.is_empty(), "the books are wrong: {} findings", wrong.len());
    Ok(())
}

/// The server's own audit. It is repeated, because events in progress can cause temporary findings.
async fn audit(settings: SettingFlags) -> anyhow::Result<Vec<String>> {
    let config = Config::load(settings.into_sources())?.config;
    let store = sql::connect(config.database.as_str()).await?;
    let mut findings = Vec::new();
    for _ in 0..10 {
        findings = store.audit(&config.rewards.rules()).await?.findings;
        if findings.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    store.disconnect().await;
    Ok(findings)
}
