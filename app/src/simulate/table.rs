//! The table that the simulation prints at the end.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};

use super::player::PlayerVerdict;
use super::tally::Tally;

/// The results of all users.
pub(super) fn of(
    tally: &Tally,
    verdicts: &[PlayerVerdict],
    outcomes: String,
    lost: usize,
    wrong: &[String],
    took: Duration,
) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    // The usual width of a terminal.
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(80);
    let mut row = |name: &str, value: String| {
        table.add_row([name.to_owned(), value]);
    };
    let facts: usize = verdicts.iter().map(|verdict| verdict.facts).sum();
    let [live, waited] = tally.popups();
    row("users", format!("{} for {} s", verdicts.len(), took.as_secs()));
    row("connections opened", tally.connections.load(Relaxed).to_string());
    row("orders", {
        let (opened, refused) = (tally.opened.load(Relaxed), tally.refused.load(Relaxed));
        format!("{opened} filled, {refused} refused, {} closed by hand", tally.closed.load(Relaxed))
    });
    row("events to tell of", facts.to_string());
    row("notifications, as the server says", outcomes);
    row("popups", format!("{} at once, {} after coming back", live.len(), waited.len()));
    row("repeated, and recognised", tally.repeated.load(Relaxed).to_string());
    row("event to popup, user there", percentiles(&live));
    row("connected to popup, user late", percentiles(&waited));
    row("lost", lost.to_string());
    row("audit", if wrong.is_empty() { "ok".into() } else { format!("{} findings", wrong.len()) });
    table
}

/// The percentiles of sorted durations.
fn percentiles(sorted: &[Duration]) -> String {
    let at = |percent: usize| {
        let place = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
        sorted
            .get(place)
            .map_or_else(|| "-".to_owned(), |wait| format!("{:.1} ms", wait.as_secs_f64() * 1e3))
    };
    format!("p50 {}, p99 {}", at(50), at(99))
}
