//! What the demo prints in the end.

use std::time::Duration;

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};

use super::act::Played;

/// So wide is a terminal that nobody has made wider.
const WIDTH: u16 = 80;

/// So wide is the column of the names, at least.
const POLICY: u16 = 28;

/// What the figures are.
pub(super) const LEGEND: &str =
    "median, max: ms from the open WebSocket to the popup; checks: looks at presence";

/// One row per policy.
pub(super) fn of(played: &[Played]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(["policy", "popup", "median", "max", "checks", "balance"]);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
        column.set_padding((0, 1));
    }
    for column in table.column_iter_mut().take(1) {
        // Names are broken after a word that tells them apart.
        column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(POLICY)));
    }
    for row in played {
        let mut waits: Vec<Duration> = row.stories.iter().filter_map(|s| s.popup).collect();
        waits.sort();
        table.add_row([
            row.act.name.to_owned(),
            popups(waits.len(), row.stories.len()),
            waits.get(waits.len() / 2).map_or_else(|| "-".to_owned(), millis),
            waits.last().map_or_else(|| "-".to_owned(), millis),
            row.presence_checks.to_string(),
            balances(row),
        ]);
    }
    table
}

fn popups(seen: usize, of: usize) -> String {
    match of - seen {
        0 => format!("seen by {seen} of {of}"),
        _ if seen == 0 => format!("lost by {of} of {of}"),
        lost => format!("lost by {lost} of {of}"),
    }
}

fn millis(wait: &Duration) -> String {
    format!("{:.1}", wait.as_secs_f64() * 1000.0)
}

/// The one balance that all clients have - or every different one.
fn balances(row: &Played) -> String {
    let mut balances: Vec<_> = row.stories.iter().map(|story| story.balance).collect();
    balances.sort();
    balances.dedup();
    balances.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What is to be learnt from it, said only as far as it was seen.
pub(super) fn moral(played: &[Played]) -> String {
    let lost = played.iter().any(|row| row.stories.iter().any(|story| story.popup.is_none()));
    if lost {
        "A lost popup is not lost money: the reward was on the ledger before its popup\nwas thought of."
    } else {
        "This time every client was fast enough; try --connect-after 3s."
    }
    .to_owned()
}
