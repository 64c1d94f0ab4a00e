//! The webhook of the real binary: outcomes arrive, and a receiver that hangs holds nothing up.

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::routing::post;
use doorstep_adapters::webhook::Secret;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::{BARE, Door};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

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
    let header = |name| headers[name].to_str().unwrap();
    let secret: Secret = SECRET.parse().unwrap();
    let time = header("webhook-timestamp").parse().unwrap();
    let expected = secret.sign(header("webhook-id"), time, &body);
    assert_eq!(header("webhook-signature"), expected);
    let message: Value = serde_json::from_slice(&body).unwrap();
    let [ended] = message["data"]["notifications"].as_array().unwrap().as_slice() else {
        panic!("{message}")
    };
    assert_eq!((&ended["id"], &ended["outcome"]), (&answers[0]["id"], &json!("expired")));
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_up_neither_deliveries_nor_the_stop() {
    // It accepts connections, as far as the system does that by itself, and never says a word.
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
async fn what_is_no_webhook_ends_the_start_with_2() {
    for (url, secret) in
        [("https://example.com", SECRET), ("http://example.com", "s3cret"), ("", SECRET)]
    {
        let call = doorstep_tests::server::Doorstep::new(&["--listen", "127.0.0.1:0"])
            .file("doorstep.toml", BARE)
            .env("DOORSTEP_WEBHOOK__URL", url)
            .env("DOORSTEP_WEBHOOK__SECRET", secret);
        let finished = call.run().await;
        assert_eq!(finished.code, Some(2), "{}", finished.stderr);
        assert!(finished.stderr.contains("webhook.") && !finished.stderr.contains("s3cret"));
    }
}
