//! The outcomes that the server counts in `/metrics`.

use std::collections::BTreeMap;

/// The number of notifications per outcome since the server's start. `None` without `/metrics`.
pub(super) async fn of(url: &str) -> Option<BTreeMap<String, u64>> {
    let response = reqwest::get(format!("{url}/metrics")).await.ok()?;
    let text = response.error_for_status().ok()?.text().await.ok()?;
    Some(read(&text))
}

/// Parses the text format of Prometheus.
fn read(text: &str) -> BTreeMap<String, u64> {
    let mut outcomes = BTreeMap::new();
    for line in text.lines() {
        let Some(labels) = line.strip_prefix("doorstep_notifications_ended_total{") else {
            continue;
        };
        let Some((labels, value)) = labels.rsplit_once("} ") else { continue };
        let outcome = labels.split(',').find_map(|label| label.strip_prefix("outcome="));
        if let (Some(outcome), Ok(count)) = (outcome, value.trim().parse::<u64>()) {
            *outcomes.entry(outcome.trim_matches('"').to_owned()).or_default() += count;
        }
    }
    outcomes
}

/// The difference between two readings. `None` if there is none to compare.
pub(super) fn since(
    before: Option<BTreeMap<String, u64>>,
    after: Option<BTreeMap<String, u64>>,
) -> Option<BTreeMap<String, u64>> {
    let (before, after) = (before?, after?);
    let more = after.into_iter().map(|(outcome, count)| {
        let more = count.saturating_sub(before.get(&outcome).copied().unwrap_or(0));
        (outcome, more)
    });
    Some(more.filter(|(_, more)| *more > 0).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_summed_over_kinds_and_counted_from_the_beginning() {
        let before =
            "doorstep_notifications_ended_total{kind=\"welcome\",outcome=\"delivered\"} 3\n";
        let after = "# TYPE doorstep_notifications_ended_total counter\n\
            doorstep_notifications_ended_total{kind=\"welcome\",outcome=\"delivered\"} 5\n\
            doorstep_notifications_ended_total{outcome=\"delivered\",kind=\"reward.granted\"} 4\n\
            doorstep_notifications_ended_total{kind=\"welcome\",outcome=\"expired\"} 1\n\
            doorstep_notifications_waiting 9\n";
        let more = since(Some(read(before)), Some(read(after)));
        let expected = [("delivered".to_owned(), 6), ("expired".to_owned(), 1)];
        assert_eq!(more, Some(BTreeMap::from(expected)));
        assert_eq!(since(None, Some(read(after))), None);
    }
}
