//! The table that the simulation prints at the end.

use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};

use super::results::{SimulationResults, percentile};

/// The results of all users.
pub(super) fn of(results: &SimulationResults) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    // The usual width of a terminal.
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(80);
    let mut row = |name: &str, value: String| {
        table.add_row([name.to_owned(), value]);
    };
    let SimulationResults { opened, refused, closed, .. } = results;
    let [live, waited] = &results.waits;
    row("users", format!("{} for {} s", results.users, results.took.as_secs()));
    row("connections opened", results.connections.to_string());
    row("orders", format!("{opened} filled, {refused} refused, {closed} closed by hand"));
    row("events to tell of", results.facts.to_string());
    row("notifications, as the server says", outcomes(results));
    row("popups", format!("{} at once, {} after coming back", live.len(), waited.len()));
    row("repeated, and recognised", results.repeated.to_string());
    row("event to popup, user there", percentiles(live));
    row("connected to popup, user late", percentiles(waited));
    row("lost", results.lost.len().to_string());
    let wrong = results.wrong.len();
    row("audit", if wrong == 0 { "ok".into() } else { format!("{wrong} findings") });
    table
}

fn outcomes(results: &SimulationResults) -> String {
    let Some(outcomes) = &results.outcomes else {
        return "the server has no /metrics".to_owned();
    };
    let each = outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}"));
    each.collect::<Vec<_>>().join(", ")
}

/// The percentiles of sorted durations.
fn percentiles(sorted: &[Duration]) -> String {
    let at = |percent| {
        percentile(sorted, percent).map_or_else(|| "-".to_owned(), |wait| format!("{wait:.1} ms"))
    };
    format!("p50 {}, p99 {}", at(50), at(99))
}
