//! A trace goes with its notification: from the publish request or the outbox to the frame, the webhook and the log.

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::routing::post;
use doorstep_tests::server::{Doorstep, SqliteFile};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::backends::{BARE, Door};
use crate::outbox::{Shop, call};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const OTHER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

type Received = mpsc::UnboundedReceiver<(HeaderMap, Value)>;

/// A receiver, and the part of the configuration that names it.
async fn webhook() -> (String, Received) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (sender, received) = mpsc::unbounded_channel();
    let hook = post(async move |headers: HeaderMap, body: Bytes| {
        sender.send((headers, serde_json::from_slice(&body).unwrap())).unwrap();
    });
    tokio::spawn(async move {
        axum::serve(listener, Router::new().route("/hook", hook)).await.unwrap();
    });
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    (format!("[webhook]\nurl = {url:?}\nsecret = {secret:?}\n"), received)
}

impl Door {
    /// Publishes with these headers `traceparent`.
    async fn publish_traced(&self, traces: &[&str], body: Value) {
        let request =
            reqwest::Client::new().post(format!("{}/v1/notifications", self.server.url()));
        let mut request = request.bearer_auth(&self.backend.key).json(&body);
        for trace in traces {
            request = request.header("traceparent", *trace);
        }
        assert_eq!(request.send().await.unwrap().status(), 202);
    }
}

/// The header and the field of each outcome of the next request to the receiver.
async fn told(received: &mut Received) -> (Option<String>, Vec<Value>) {
    let (headers, body) = received.recv().await.unwrap();
    let header = headers.get("traceparent").map(|value| value.to_str().unwrap().to_owned());
    let all = body["data"]["notifications"].as_array().unwrap();
    (header, all.iter().map(|one| one["traceparent"].clone()).collect())
}

#[tokio::test]
async fn a_trace_reaches_the_frame_the_webhook_and_the_log() {
    let (hook, mut received) = webhook().await;
    let call = Doorstep::new(&["--listen", "127.0.0.1:0"]).env("DOORSTEP_LOG__FORMAT", "json");
    let door = Door::of(call, &format!("{BARE}{hook}")).await;
    let mut ada = door.user("ada").connect("doorstep.v1").await;
    door.publish_traced(&[TRACE], json!({"user_id": "ada", "kind": "news", "payload": 1})).await;
    let frame = ada.notification().await;
    assert_eq!(frame["traceparent"], TRACE);
    ada.acknowledge(&frame).await;
    assert_eq!(told(&mut received).await, (Some(TRACE.to_owned()), vec![json!(TRACE)]));

    // A user who comes later; notifications that expire at once, of two traces, in one request.
    door.publish_traced(&[OTHER], json!({"user_id": "bob", "kind": "news", "payload": 1})).await;
    let mut bob = door.user("bob").connect("doorstep.v1").await;
    let frame = bob.notification().await;
    assert_eq!(frame["traceparent"], OTHER);
    bob.acknowledge(&frame).await;
    assert_eq!(told(&mut received).await.0.as_deref(), Some(OTHER));

    door.server.terminate();
    let log = door.server.wait().await.stderr;
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ended: Vec<Value> = lines.filter(|line| line["message"] == "notification ended").collect();
    let ids: Vec<&Value> = ended.iter().map(|line| &line["trace_id"]).collect();
    assert_eq!(ids, [TRACE_ID, "0af7651916cd43dd8448eb211c80319c"], "{log}");
}

#[tokio::test]
async fn one_request_about_two_traces_names_them_only_with_their_outcomes() {
    let (hook, mut received) = webhook().await;
    let door = Door::with(&format!("{BARE}{hook}")).await;
    let now = |n: u32| json!({"user_id": "ada", "kind": "news", "payload": n, "ttl": 0});
    tokio::join!(
        door.publish_traced(&[TRACE], json!([now(1), now(2)])),
        door.publish_traced(&[OTHER], json!([now(3)])),
        door.publish_traced(&[], json!([now(4)])),
    );
    let mut all = Vec::new();
    while all.len() < 4 {
        let (header, mut outcomes) = told(&mut received).await;
        let first = outcomes[0].as_str().map(str::to_owned);
        let same = outcomes.iter().all(|one| one.as_str() == first.as_deref());
        assert_eq!(header, first.filter(|_| same), "{outcomes:?}");
        all.append(&mut outcomes);
    }
    let count = |trace: &Value| all.iter().filter(|one| *one == trace).count();
    assert_eq!([json!(TRACE), json!(OTHER), Value::Null].map(|trace| count(&trace)), [2, 1, 1]);
}

#[tokio::test]
async fn what_is_no_trace_is_ignored() {
    let door = Door::open().await;
    let mut ada = door.user("ada").connect("doorstep.plain.v1").await;
    for none in [&[][..], &["nonsense"], &[TRACE, OTHER], &["00-0-0-0"]] {
        door.publish_traced(none, json!({"user_id": "ada", "kind": "news", "payload": 1})).await;
        let frame = ada.notification().await;
        assert!(frame.get("traceparent").is_none(), "{none:?}: {frame}");
    }
}

/// What waits is handed over, and what is kept is in the inbox: both with their traces.
#[tokio::test]
async fn a_trace_survives_a_restart() {
    let database = SqliteFile::new();
    let file = "[trading]\nenabled = false\n[delivery.kinds.kept]\npolicy = \"inbox\"\n";
    let mut door = Door::of(Doorstep::serve(&database.url()), file).await;
    for (trace, kind) in [(TRACE, "news"), (OTHER, "kept")] {
        let body = json!({"user_id": "ada", "kind": kind, "payload": kind});
        door.publish_traced(&[trace], body).await;
    }
    door.server.terminate();
    assert_eq!(door.server.wait().await.code, Some(0));
    door.server = door.call.start().await;
    let mut ada = door.user("ada").connect("doorstep.v1").await;
    let mut frames = [ada.notification().await, ada.notification().await];
    frames.sort_by_key(|frame| frame["kind"].as_str() == Some("kept"));
    let traces: Vec<&Value> = frames.iter().map(|frame| &frame["traceparent"]).collect();
    assert_eq!(traces, [TRACE, OTHER]);
}

#[tokio::test]
async fn a_row_of_the_outbox_carries_its_trace() {
    let (hook, mut received) = webhook().await;
    let shop = Shop::open().await;
    let door = shop.door_with(&hook).await;
    let mut ada = door.user("ada").connect("doorstep.v1").await;
    let mut backend = shop.backend().await;
    let arguments = format!("'ada', 'order.shipped', '1', traceparent => '{TRACE}'");
    call(&mut backend, &arguments).await;
    let frame = ada.notification().await;
    assert_eq!(frame["traceparent"], TRACE);
    ada.acknowledge(&frame).await;
    assert_eq!(told(&mut received).await.0.as_deref(), Some(TRACE));
}
