//! What the real binary prints at `/metrics` after traffic of every kind.

use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::routing::post;
use doorstep_tests::browser::target_dir;
use doorstep_tests::scrape::Scrape;
use doorstep_tests::server::{Doorstep, SqliteFile};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::process::Command;

use super::everything::scrape_of_everything;
use crate::backends::{Door, token};
use crate::node::eventually;

const FILE: &str = "
[trading]\nenabled = false
[limits]\nconnections_per_user = 1
[delivery]\nack_timeout = \"10m\"
[delivery.kinds.picky]\nmax_per_user = 1\noverflow = \"reject\"
[delivery.kinds.rare]\nmax_pending = 1
[delivery.kinds.kept]\npolicy = \"inbox\"
[delivery.kinds.promoted]\non_expiry = \"inbox\"
";

/// A metric, some of its labels, and a value.
type Figure = (&'static str, &'static [(&'static str, &'static str)], f64);

const EXACTLY: &[Figure] = &[
    ("doorstep_ready", &[], 1.0),
    ("doorstep_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0),
    ("doorstep_notifications_waiting", &[], 4.0),
    ("doorstep_notifications_waiting", &[("kind", "news")], 2.0),
    ("doorstep_notifications_waiting", &[("kind", "kept")], 0.0),
    ("doorstep_notifications_in_flight", &[], 1.0),
    ("doorstep_pending_notifications", &[], 5.0),
    ("doorstep_pending_notifications_limit", &[], 1_000_000.0),
    ("doorstep_pending_limit_bytes", &[], 536_870_912.0),
    ("doorstep_pending_bytes", &[], 5.0),
    ("doorstep_mailboxes", &[], 3.0),
    ("doorstep_timer_lag_seconds", &[], 0.0),
    ("doorstep_notifications_ended_total", &[("outcome", "expired"), ("kind", "now")], 1.0),
    ("doorstep_notifications_ended_total", &[("outcome", "rejected")], 2.0),
    ("doorstep_notification_wait_seconds_count", &[("outcome", "delivered")], 4.0),
    ("doorstep_notification_wait_seconds_count", &[("outcome", "expired")], 2.0),
    ("doorstep_notifications_refused_total", &[("reason", "invalid")], 2.0),
    ("doorstep_notifications_refused_total", &[("reason", "mailbox_full")], 1.0),
    ("doorstep_notifications_refused_total", &[("reason", "node_full")], 1.0),
    ("doorstep_notifications_refused_total", &[("reason", "inbox_away")], 0.0),
    ("doorstep_notifications_refused_total", &[("reason", "stopping")], 0.0),
    ("doorstep_delivery_panics_total", &[], 0.0),
    ("doorstep_connections", &[("transport", "websocket")], 1.0),
    ("doorstep_connections", &[("transport", "sse")], 1.0),
    ("doorstep_connections_refused_total", &[("reason", "user")], 1.0),
    ("doorstep_connections_refused_total", &[], 1.0),
    ("doorstep_frames_queued_total", &[("transport", "websocket")], 4.0),
    ("doorstep_push_seconds_count", &[("transport", "websocket")], 4.0),
    ("doorstep_push_seconds_count", &[("transport", "sse")], 1.0),
    ("doorstep_http_responses_total", &[("code", "422")], 1.0),
    ("doorstep_http_responses_total", &[("code", "500")], 0.0),
    ("doorstep_store_failures_total", &[], 0.0),
    ("doorstep_store_connections_limit", &[("pool", "writers")], 1.0),
    ("doorstep_webhook_oldest_seconds", &[], 0.0),
    ("doorstep_webhook_lost_total", &[], 0.0),
    ("doorstep_webhook_requests_total", &[("result", "failed")], 0.0),
];

const AT_LEAST: &[Figure] = &[
    ("doorstep_presence_checks_total", &[], 8.0),
    ("doorstep_http_responses_total", &[("code", "202")], 8.0),
    ("doorstep_store_operation_seconds_count", &[("operation", "read")], 1.0),
    ("doorstep_store_operation_seconds_count", &[("operation", "transaction")], 2.0),
    ("doorstep_store_operation_seconds_sum", &[("operation", "begin")], 0.000_001),
    ("doorstep_store_connections", &[("pool", "readers")], 1.0),
    ("doorstep_webhook_requests_total", &[("result", "accepted")], 1.0),
    ("doorstep_webhook_request_seconds_count", &[], 1.0),
    ("process_cpu_seconds_total", &[], 0.01),
    ("process_resident_memory_bytes", &[], 5e6),
    ("process_virtual_memory_bytes", &[], 5e6),
    ("process_open_fds", &[], 8.0),
    ("process_max_fds", &[], 256.0),
];

fn is(found: f64, expected: f64) -> bool {
    (found - expected).abs() < 0.5
}

#[tokio::test]
async fn traffic_of_every_kind_is_counted() {
    let hook = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let webhook = format!(
        "[webhook]\nurl = \"http://{}/hook\"\nsecret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n",
        hook.local_addr().unwrap()
    );
    tokio::spawn(async move {
        axum::serve(hook, Router::new().route("/hook", post(async || ()))).await.unwrap();
    });
    let database = SqliteFile::new();
    let door = Door::of(Doorstep::serve(&database.url()), &format!("{FILE}{webhook}")).await;
    let url = door.server.url().to_owned();

    // Ada acknowledges three and leaves the fourth. A second connection is one too many.
    let mut ada = door.user("ada").connect("doorstep.v1").await;
    assert_eq!(door.user("ada").connect("doorstep.v1").await.close_code().await, 1013);
    let news = |user: &str| json!({"user_id": user, "kind": "news", "payload": 1});
    for n in 0..4 {
        door.backend.publish(&news("ada")).await;
        let frame = ada.notification().await;
        if n < 3 {
            ada.acknowledge(&frame).await;
        }
    }
    // Carol has a stream.
    let stream = reqwest::Client::new().get(format!("{url}/v1/notifications/stream"));
    let mut stream = stream.bearer_auth(token("carol")).send().await.unwrap();
    door.backend.publish(&news("carol")).await;
    let mut read = String::new();
    while !read.contains("event") && !read.contains("data: ") {
        read.push_str(&String::from_utf8_lossy(&stream.chunk().await.unwrap().unwrap()));
    }
    // Bob never comes.
    let bob =
        |kind: &str, ttl: u32| json!({"user_id": "bob", "kind": kind, "payload": 1, "ttl": ttl});
    let sent = ["news", "news", "rare", "rare", "kept"].map(|kind| bob(kind, 60));
    door.backend.publish(&sent.into_iter().collect()).await;
    let dave = json!({"user_id": "dave", "kind": "picky", "payload": 1});
    door.backend.publish(&json!([dave, dave])).await;
    door.backend.publish(&json!([bob("brief", 1), bob("promoted", 1), {"user_id": "bob"}])).await;
    let (status, _) = door.backend.post("/v1/notifications", r#"{"user_id": "bob"}"#).await;
    assert_eq!(status, 422);
    door.backend.publish(&json!({"user_id": "bob", "kind": "now", "payload": 1, "ttl": 0})).await;

    let ended = |figures: &Scrape, outcome: &str, kind: &str| {
        figures.sum("doorstep_notifications_ended_total", &[("outcome", outcome), ("kind", kind)])
    };
    let mut figures = Scrape::of(&url).await;
    eventually("everything has ended, and the webhook knows", async || {
        figures = Scrape::of(&url).await;
        let oldest = [("kind", "news")];
        is(ended(&figures, "expired", "brief"), 1.0)
            && is(ended(&figures, "promoted", "promoted"), 1.0)
            && is(ended(&figures, "delivered", "news"), 4.0)
            && figures.sum("doorstep_notifications_oldest_waiting_seconds", &oldest) > 0.0
            && figures.get("doorstep_webhook_outcomes_waiting", &[]) == Some(0.0)
    })
    .await;
    for (name, labels, expected) in EXACTLY {
        let found = figures.sum(name, labels);
        assert!(is(found, *expected), "{name} {labels:?} is {found}, not {expected}");
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    for (name, labels, least) in AT_LEAST {
        let found = figures.sum(name, labels);
        assert!(found >= *least, "{name} {labels:?} is {found}, less than {least}");
    }
    let started = figures.sum("process_start_time_seconds", &[]);
    assert!((now - 600.0..=now + 1.0).contains(&started), "{started}");
    assert!(figures.sum("doorstep_push_seconds_sum", &[]) < 60.0);
}

/// One that stops is not ready, and says so while it still answers.
#[tokio::test]
async fn a_store_that_is_gone_shows_as_not_ready() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    assert_eq!(Scrape::of(server.url()).await.get("doorstep_ready", &[]), Some(1.0));
    let file = database.url().trim_start_matches("sqlite://").to_owned();
    std::fs::remove_file(file).unwrap();
    assert_eq!(Scrape::of(server.url()).await.get("doorstep_ready", &[]), Some(0.0));
}

/// Prometheus' own tool, which `tests/run.sh` installs.
pub(super) async fn promtool(arguments: &[&str], input: &str) -> std::process::Output {
    let own = target_dir().join("promtool/promtool");
    let tool = if own.exists() { own } else { "promtool".into() };
    let mut child = Command::new(tool)
        .args(arguments)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("promtool, which ./tests/run.sh installs: {e}"));
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    child.wait_with_output().await.unwrap()
}

#[tokio::test]
async fn promtool_has_no_objection() {
    let text = scrape_of_everything().await;
    let checked = promtool(&["check", "metrics"], text).await;
    let said = format!(
        "{:?} {:?}",
        String::from_utf8_lossy(&checked.stdout),
        String::from_utf8_lossy(&checked.stderr)
    );
    assert!(checked.status.success() && said == "\"\" \"\"", "{said}");
}
