//! What a simulation found, for people (`table`) and for programs.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde_json::{Value, json};

use super::player::PlayerVerdict;
use super::tally::Tally;

/// The results of all users.
pub(super) struct SimulationResults {
    pub(super) users: usize,
    pub(super) took: Duration,
    pub(super) connections: u64,
    pub(super) opened: u64,
    pub(super) refused: u64,
    pub(super) closed: u64,
    /// Facts for which a popup must have come.
    pub(super) facts: usize,
    /// What the server counted; `None` if it has no `/metrics`.
    pub(super) outcomes: Option<BTreeMap<String, u64>>,
    /// How long popups took, sorted: of users who were online, and of users who connected later.
    pub(super) waits: [Vec<Duration>; 2],
    pub(super) repeated: u64,
    pub(super) lost: Vec<String>,
    /// What is wrong with ledgers and positions.
    pub(super) wrong: Vec<String>,
}

/// How many lost popups, and how many findings, are listed.
const LISTED: usize = 1000;

impl SimulationResults {
    pub(super) fn new(
        tally: &Tally,
        verdicts: &[PlayerVerdict],
        outcomes: Option<BTreeMap<String, u64>>,
        wrong: Vec<String>,
        took: Duration,
    ) -> Self {
        Self {
            users: verdicts.len(),
            took,
            connections: tally.connections.load(Relaxed),
            opened: tally.opened.load(Relaxed),
            refused: tally.refused.load(Relaxed),
            closed: tally.closed.load(Relaxed),
            facts: verdicts.iter().map(|verdict| verdict.facts).sum(),
            outcomes,
            waits: tally.popups(),
            repeated: tally.repeated.load(Relaxed),
            lost: verdicts.iter().flat_map(|verdict| verdict.lost.iter().cloned()).collect(),
            wrong,
        }
    }

    /// One object.
    pub(super) fn to_json(&self) -> Value {
        let [live, waited] = &self.waits;
        json!({
            "ok": self.users > 0 && self.lost.is_empty() && self.wrong.is_empty(),
            "users": self.users,
            "seconds": self.took.as_secs(),
            "connections": self.connections,
            "orders_filled": self.opened,
            "orders_refused": self.refused,
            "orders_closed_by_hand": self.closed,
            "events": self.facts,
            "outcomes": self.outcomes,
            "popups_at_once": live.len(),
            "popups_after_coming_back": waited.len(),
            "popups_repeated": self.repeated,
            "event_to_popup_ms": percentiles(live),
            "connected_to_popup_ms": percentiles(waited),
            "popups_lost": self.lost.len(),
            "lost": self.lost.iter().take(LISTED).collect::<Vec<_>>(),
            "findings": self.wrong.iter().take(LISTED).collect::<Vec<_>>(),
        })
    }
}

fn percentiles(sorted: &[Duration]) -> Value {
    let at = |percent| percentile(sorted, percent).map(|wait| (wait * 1e3).round() / 1e3);
    json!({"p50": at(50), "p99": at(99)})
}

/// A percentile of sorted durations, in milliseconds.
pub(super) fn percentile(sorted: &[Duration], percent: usize) -> Option<f64> {
    let place = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(place).map(|wait| wait.as_secs_f64() * 1e3)
}
