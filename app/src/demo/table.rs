//! The table that the demo prints at the end.

use std::time::Duration;

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};

use super::act::PlayedAct;

/// The usual width of a terminal.
const WIDTH: u16 = 80;

/// The least width of the first column.
const POLICY: u16 = 28;

/// The meaning of the columns.
pub(super) const LEGEND: &str =
    "median, max: ms from the open WebSocket to the popup; checks: presence checks";

/// One row per policy.
pub(super) fn of(played: &[PlayedAct]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(["policy", "popup", "median", "max", "checks", "balance"]);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
        column.set_padding((0, 1));
    }
    for column in table.column_iter_mut().take(1) {
        // Wide enough that names wrap after the word by which they differ.
        column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(POLICY)));
    }
    for row in played {
        let waits = row.waits();
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

/// The balance of all clients, or all balances if they differ.
fn balances(row: &PlayedAct) -> String {
    let mut balances: Vec<_> = row.stories.iter().map(|story| story.balance).collect();
    balances.sort();
    balances.dedup();
    balances.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The conclusion, if the results show it.
pub(super) fn conclusion(played: &[PlayedAct]) -> String {
    let lost = played.iter().any(|row| row.stories.iter().any(|story| story.popup.is_none()));
    if lost {
        "A lost popup is not lost money: the reward was in the ledger before its popup\nwas made."
    } else {
        "Every client connected in time; try --connect-after 3s."
    }
    .to_owned()
}
