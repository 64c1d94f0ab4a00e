//! The webhook of the real binary: outcomes arrive, and a receiver that hangs delays nothing.

use std::collections::{HashMap, HashSet};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::{BARE, Door};
use doorstep_tests::server::{Doorstep, SqliteFile};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A receiver in another language that follows the specification and shares no code with us. The libraries accept
/// a message for five minutes.
const VERIFY: &str = r#"
import base64, hashlib, hmac, sys, time
secret, id, timestamp, signatures = sys.argv[1:]
key = base64.b64decode(secret.removeprefix("whsec_"))
signed = f"{id}.{timestamp}.".encode() + sys.stdin.buffer.read()
expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
fresh = abs(time.time() - int(timestamp)) < 300
sys.exit(0 if fresh and f"v1,{expected}" in signatures.split(" ") else 1)
"#;

async fn verifies(headers: &HeaderMap, body: &[u8]) -> bool {
    let header = |name| headers[name].to_str().unwrap();
    let mut receiver = tokio::process::Command::new("python3")
        .args(["-c", VERIFY, SECRET, header("webhook-id"), header("webhook-timestamp")])
        .arg(header("webhook-signature"))
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("python3, which ./tests/run.sh installs: {e}"));
    receiver.stdin.take().unwrap().write_all(body).await.unwrap();
    receiver.wait().await.unwrap().success()
}

async fn door(listener: &TcpListener) -> Door {
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    Door::with(&format!("{BARE}[webhook]\nurl = {url:?}\nsecret = {SECRET:?}")).await
}

#[tokio::test]
async fn outcomes_arrive_signed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let door = door(&listener).await;
    let (sender, mut received) = mpsc::unbounded_channel();
    let hook = post(async move |headers: HeaderMap, body: Bytes| {
        sender.send((headers, body)).unwrap();
    });
    tokio::spawn(async move {
        axum::serve(listener, Router::new().route("/hook", hook)).await.unwrap();
    });
    let now = json!({"user_id": "ada", "kind": "news", "payload": 1, "ttl": 0});
    let answers = door.backend.publish(&now).await;
    let (headers, body) = received.recv().await.unwrap();
    assert_eq!(headers["content-type"], "application/json");
    assert!(verifies(&headers, &body).await);
    let mut changed = body.to_vec();
    changed[10] ^= 1;
    assert!(!verifies(&headers, &changed).await);
    let message: Value = serde_json::from_slice(&body).unwrap();
    let [ended] = message["data"]["notifications"].as_array().unwrap().as_slice() else {
        panic!("{message}")
    };
    assert_eq!((&ended["id"], &ended["outcome"]), (&answers[0]["id"], &json!("expired")));
}

/// The recipe 'last resort' of docs/backends.md: a mail for what is reported as `expired` or `promoted`, and only for that.
#[tokio::test]
async fn what_was_acknowledged_is_never_reported_as_not_seen() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (database, url) =
        (SqliteFile::new(), format!("http://{}/hook", listener.local_addr().unwrap()));
    let file = format!(
        "[trading]\nenabled = false\n[delivery.kinds.kept]\non_expiry = \"inbox\"\n\
         [webhook]\nurl = {url:?}\nsecret = {SECRET:?}"
    );
    let door = Door::of(Doorstep::serve(&database.url()), &file).await;
    let (sender, mut received) = mpsc::unbounded_channel();
    let hook = post(async move |body: Bytes| sender.send(body).unwrap());
    tokio::spawn(async move {
        axum::serve(listener, Router::new().route("/hook", hook)).await.unwrap();
    });
    // Ada acknowledges every second one, at once; the others stay in flight until their end. Bob never comes.
    let mut ada = door.user("ada").connect("doorstep.v1").await;
    let one = |n: usize| {
        let (user, kind) = (["ada", "bob"][n / 2 % 2], ["news", "kept"][n % 2]);
        json!({"user_id": user, "kind": kind, "payload": n, "ttl": 5})
    };
    let sent = door.backend.publish(&(0..80).map(one).collect()).await;
    let mut acknowledged = HashSet::new();
    for n in 0..40 {
        let frame = ada.notification().await;
        if n % 4 < 2 {
            ada.acknowledge(&frame).await;
            acknowledged.insert(frame["id"].as_str().unwrap().to_owned());
        }
    }
    let mut outcomes = HashMap::new();
    while outcomes.len() < sent.len() {
        let message: Value = serde_json::from_slice(&received.recv().await.unwrap()).unwrap();
        for ended in message["data"]["notifications"].as_array().unwrap() {
            let (id, outcome) = (&ended["id"], ended["outcome"].as_str().unwrap().to_owned());
            let earlier = outcomes.insert(id.as_str().unwrap().to_owned(), outcome);
            assert_eq!(earlier, None, "one outcome each");
        }
    }
    for (n, sent) in sent.iter().enumerate() {
        let id = sent["id"].as_str().unwrap();
        let not_seen = ["expired", "promoted"][n % 2];
        let expected = if acknowledged.contains(id) { "delivered" } else { not_seen };
        assert_eq!(outcomes[id], expected, "{n}");
    }
    assert_eq!(acknowledged.len(), 20);
}

#[tokio::test]
async fn one_that_answers_500_is_told_again_under_the_same_id_and_signed_anew() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let door = door(&listener).await;
    let (sender, mut received) = mpsc::unbounded_channel();
    let hook = post(async move |headers: HeaderMap, body: Bytes| {
        sender.send((headers, body)).unwrap();
        StatusCode::INTERNAL_SERVER_ERROR
    });
    tokio::spawn(async move {
        axum::serve(listener, Router::new().route("/hook", hook)).await.unwrap();
    });
    let now = json!({"user_id": "ada", "kind": "news", "payload": 1, "ttl": 0});
    door.backend.publish(&json!([now, now, now])).await;
    let (first, first_body) = received.recv().await.unwrap();
    let (second, second_body) = received.recv().await.unwrap();
    assert_eq!((&first["webhook-id"], &first_body), (&second["webhook-id"], &second_body));
    assert!(verifies(&second, &second_body).await);
    let message: Value = serde_json::from_slice(&first_body).unwrap();
    assert_eq!(message["data"]["notifications"].as_array().unwrap().len(), 3, "in one batch");
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_logged_and_counted_and_holds_nothing_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut door = door(&listener).await;
    drop(listener);
    let now = json!({"user_id": "ada", "kind": "news", "payload": 1, "ttl": 0});
    assert_eq!(super::states(&door.backend.publish(&now).await), ["expired"]);
    door.server.logged("the webhook did not accept a batch", 1).await;
    let url = format!("{}/metrics", door.server.url());
    let figures = reqwest::get(url).await.unwrap().text().await.unwrap();
    assert!(figures.contains("doorstep_webhook_lost_total 0"), "{figures}");
    door.server.terminate();
    let stopped = door.server.wait().await;
    assert_eq!(stopped.code, Some(0), "{}", stopped.stderr);
    assert!(stopped.stderr.contains("it is lost"), "{}", stopped.stderr);
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_up_neither_deliveries_nor_the_stop() {
    // The operating system accepts connections for it, and it never responds.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let door = door(&listener).await;
    let mut socket = door.user("ada").connect("doorstep.plain.v1").await;
    for n in 0..20 {
        let body = json!({"user_id": "ada", "kind": "news", "payload": n});
        let answers = door.backend.publish_at("/v1/notifications?wait=60", &body).await;
        assert_eq!(answers[0]["state"], "delivered");
        assert_eq!(socket.notification().await["payload"], n);
    }
    door.server.terminate();
    let stopped = door.server.wait().await;
    assert_eq!(stopped.code, Some(0), "{}", stopped.stderr);
}

#[tokio::test]
async fn invalid_webhook_settings_exit_with_2() {
    for (url, secret) in
        [("ftp://example.com", SECRET), ("http://example.com", "s3cret"), ("", SECRET)]
    {
        let call = Doorstep::new(&["--listen", "127.0.0.1:0"])
            .file("doorstep.toml", BARE)
            .env("DOORSTEP_WEBHOOK__URL", url)
            .env("DOORSTEP_WEBHOOK__SECRET", secret);
        let finished = call.run().await;
        assert_eq!(finished.code, Some(2), "{}", finished.stderr);
        assert!(finished.stderr.contains("webhook.") && !finished.stderr.contains("s3cret"));
    }
}
