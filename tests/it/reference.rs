//! The pages under `docs/` that list names, compared with what a real node prints.

use std::collections::{BTreeMap, BTreeSet};

use doorstep_adapters::connections::DisconnectReason;
use doorstep_adapters::metrics::MetricDescription;
use doorstep_tests::client::User;
use doorstep_tests::server::{Doorstep, SqliteFile};
use doorstep_tests::tls::{TlsClient, fixture, section};
use tokio::net::TcpListener;

use crate::node::eventually;
use crate::outbox::Shop;

/// A metric's type, help text and labels, by its name.
type MetricTable = BTreeMap<String, (String, String, BTreeSet<String>)>;

/// Reads the table in `docs/metrics.md`.
fn documented_metrics() -> MetricTable {
    let page = include_str!("../../docs/metrics.md");
    let rows = page.lines().filter(|line| line.starts_with("| `doorstep_"));
    let row = |row: &str| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [name, kind, labels, help] = cells[..] else { panic!("not four columns: {row}") };
        let labels = labels.split(", ").filter(|label| *label != "-");
        let labels = labels.map(|label| label.trim_matches('`').to_owned()).collect();
        (name.trim_matches('`').to_owned(), (kind.to_owned(), help.to_owned(), labels))
    };
    rows.map(row).collect()
}

/// Reads the Prometheus text format.
fn printed_metrics(text: &str) -> MetricTable {
    let mut metrics = MetricTable::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' ')) {
            metrics.entry(name.to_owned()).or_default().1.push_str(help);
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' '))
        {
            metrics.entry(name.to_owned()).or_default().0.push_str(kind);
        } else if let Some((series, labels)) = line.split_once('{') {
            let suffixes = ["_bucket", "_sum", "_count"];
            let name = suffixes.iter().find_map(|suffix| series.strip_suffix(suffix));
            let name = name.filter(|name| metrics.contains_key(*name)).unwrap_or(series);
            let (labels, _) = labels.rsplit_once('}').unwrap();
            let labels = labels.split(',').map(|pair| pair.split_once('=').unwrap().0);
            let labels = labels.filter(|label| *label != "le").map(str::to_owned);
            metrics.get_mut(name).unwrap().2.extend(labels);
        }
    }
    metrics
}

#[tokio::test]
async fn every_metric_is_documented_as_it_is_printed() {
    let documented = documented_metrics();
    let defined = MetricDescription::ALL.map(|MetricDescription { name, kind, labels, help }| {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        (name.to_owned(), (kind.as_str().to_owned(), help.to_owned(), labels))
    });
    assert_eq!(documented, MetricTable::from(defined));

    // A node with everything that has metrics: the simulation, an outbox, TLS, an inbox that forgets, and a webhook whose
    // receiver never answers.
    let receiver = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let webhook = format!(
        "[webhook]\nurl = \"http://{}/\"\nsecret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n",
        receiver.local_addr().unwrap()
    );
    let (database, shop) = (SqliteFile::new(), Shop::open().await);
    let (cert, key) = (fixture("server.pem"), fixture("server.key"));
    let tls = section(cert.to_str().unwrap(), key.to_str().unwrap());
    let kept = "[inbox]\nkeep_read = \"30days\"\n";
    let file = format!("{webhook}{kept}{}{tls}", shop.section());
    let server = Doorstep::serve(&database.url()).file("doorstep.toml", &file).start().await;
    // How notifications ended is printed once one has ended.
    let url = TlsClient::new().plain_url(server.address()).await;
    let ada = User::register(&url, "ada").await;
    let mut socket = ada.connect("doorstep.plain.v1").await;
    socket.kinds(1).await;
    let url = format!("{url}/metrics");
    let mut text = String::new();
    eventually("a notification has ended", async || {
        text = reqwest::get(&url).await.unwrap().text().await.unwrap();
        text.contains("doorstep_notifications_ended_total{")
            && text.contains("doorstep_outbox_rows_waiting")
    })
    .await;
    assert_eq!(documented, printed_metrics(&text), "{text}");
}

#[test]
fn every_reason_of_a_connection_s_end_is_documented() {
    let page = include_str!("../../docs/metrics.md");
    let (_, reasons) = page.split_once("* `reason`: ").unwrap();
    let (reasons, _) = reasons.split_once("\n* ").unwrap();
    let documented: BTreeSet<&str> = reasons.split('`').skip(1).step_by(2).collect();
    assert_eq!(
        documented,
        DisconnectReason::ALL.into_iter().map(DisconnectReason::as_str).collect()
    );
}
