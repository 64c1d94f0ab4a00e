//! The pages under `docs/` that list names, compared with what a real node prints.

use std::collections::{BTreeMap, BTreeSet};

use doorstep_adapters::connections::DisconnectReason;
use doorstep_adapters::metrics::MetricDescription;
use doorstep_tests::scrape::Scrape;

use crate::operate::everything::scrape_of_everything;

/// A metric's type, help text and labels, by its name.
type MetricTable = BTreeMap<String, (String, String, BTreeSet<String>)>;

/// Reads the table in `docs/metrics.md`.
fn documented_metrics() -> MetricTable {
    let page = include_str!("../../docs/metrics.md");
    let rows = page
        .lines()
        .filter(|line| line.starts_with("| `doorstep_") || line.starts_with("| `process_"));
    let row = |row: &str| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [name, kind, labels, help] = cells[..] else { panic!("not four columns: {row}") };
        let labels = labels.split(", ").filter(|label| *label != "-");
        let labels = labels.map(|label| label.trim_matches('`').to_owned()).collect();
        (name.trim_matches('`').to_owned(), (kind.to_owned(), help.to_owned(), labels))
    };
    rows.map(row).collect()
}

/// The metrics of a scrape.
fn printed_metrics(text: &str) -> MetricTable {
    let families = Scrape::read(text).families.into_iter();
    families.map(|(name, family)| (name, (family.kind, family.help, family.labels))).collect()
}

#[tokio::test]
async fn every_metric_is_documented_as_it_is_printed() {
    let documented = documented_metrics();
    let defined = MetricDescription::ALL.map(|MetricDescription { name, kind, labels, help }| {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        (name.to_owned(), (kind.as_str().to_owned(), help.to_owned(), labels))
    });
    assert_eq!(documented, MetricTable::from(defined));

    let text = scrape_of_everything().await;
    assert_eq!(documented, printed_metrics(text), "{text}");
}

#[test]
fn every_reason_of_a_connection_s_end_is_documented() {
    let page = include_str!("../../docs/metrics.md");
    let (_, reasons) =
        page.split_once("* `reason` of `doorstep_connections_ended_total`: ").unwrap();
    let (reasons, _) = reasons.split_once("\n* ").unwrap();
    let documented: BTreeSet<&str> = reasons.split('`').skip(1).step_by(2).collect();
    assert_eq!(
        documented,
        DisconnectReason::ALL.into_iter().map(DisconnectReason::as_str).collect()
    );
}
