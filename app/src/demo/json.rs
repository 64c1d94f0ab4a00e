//! The figures of the demo for programs.

use std::time::Duration;

use serde_json::{Value, json};

use super::act::PlayedAct;
use crate::cli::DemoArgs;

/// One object with all policies.
pub(super) fn of(args: &DemoArgs, played: &[PlayedAct], broken: &[String]) -> Value {
    json!({
        "ok": broken.is_empty(),
        "connect_after_ms": millis(&args.connect_after),
        "runs": args.runs,
        "policies": played.iter().map(policy).collect::<Vec<_>>(),
        "broken_promises": broken,
    })
}

fn policy(played: &PlayedAct) -> Value {
    let (waits, clients) = (played.waits(), played.stories.len());
    let balances: Vec<_> = played.stories.iter().map(|story| story.balance).collect();
    json!({
        "name": played.act.name,
        "clients": clients,
        "popups_seen": waits.len(),
        "popups_lost": clients - waits.len(),
        "wait_median_ms": waits.get(waits.len() / 2).map(millis),
        "wait_max_ms": waits.last().map(millis),
        "presence_checks": played.presence_checks,
        "balances": balances,
    })
}

fn millis(wait: &Duration) -> f64 {
    // To the microsecond.
    (wait.as_secs_f64() * 1e6).round() / 1e3
}
