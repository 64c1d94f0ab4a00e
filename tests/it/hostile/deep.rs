//! JSON that is nested deeper, or is larger, than anyone needs.

use futures_util::future::join_all;
use serde_json::json;
use tokio_tungstenite::tungstenite::Bytes;

use super::{Healthy, assert_grown_less, door, is_served};

/// How deep it is nested.
const LEVELS: usize = 100_000;
/// How many publishers send the largest body at once.
const PUBLISHERS: usize = 24;
/// A little less than the largest body that is read.
const HUGE: usize = 32 * 1024 * 1024;

fn nested(open: &str, middle: &str, close: &str, levels: usize) -> String {
    [&open.repeat(levels), middle, &close.repeat(levels)].concat()
}

#[tokio::test]
async fn deep_json_is_refused_and_brings_nobody_down() {
    let door = door().await;
    let healthy = Healthy::at(&door).await;
    // The first has as many levels as fit in a payload, the others do not end or are larger than one.
    let fitting = nested("[", "1", "]", 16_000);
    let deep = [
        nested("[", "1", "]", LEVELS),
        nested("{\"a\":", "1", "}", LEVELS),
        nested("[{\"a\":", "1", "}]", LEVELS),
        "[".repeat(LEVELS),
        "{\"a\":".repeat(LEVELS),
    ];
    for json in deep.iter().chain([&fitting]) {
        let begin = &json[..20];
        let bodies = [
            json.clone(),
            format!(r#"{{"user_id":"hostile","kind":"deep","payload":{json}}}"#),
            format!(r#"{{"user_id":{json},"kind":"deep","payload":1}}"#),
            format!(r#"{{"user_id":"hostile","kind":"deep","payload":1,"ttl":{json}}}"#),
            format!(r#"{{"user_id":"hostile","kind":"deep","payload":1,"other":{json}}}"#),
        ];
        for body in bodies {
            let whole = body == *json;
            let (status, answer) = door.backend.post("/v1/notifications", body).await;
            // The array at the top is a batch of one, which is judged on its own.
            let refused = match status {
                202 => whole && answer["notifications"][0]["reason"] == "invalid",
                status => [400, 413, 422].contains(&status),
            };
            assert!(refused, "{begin}: {status} {answer}");
        }
        let (status, _) =
            door.backend.post("/v1/presence", format!(r#"{{"user_ids":{json}}}"#)).await;
        assert!([400, 413, 422].contains(&status), "{begin}: {status}");
    }
    is_served(&door.user("another")).await;
    healthy.has_everything().await;
}

#[tokio::test]
async fn huge_bodies_at_once_are_bounded() {
    let door = door().await;
    let healthy = Healthy::at(&door).await;
    let before = door.server.resident();
    // A number for each two bytes: what a tree of values would have thirty times over.
    let body = Bytes::from(format!("[{}1]", "1,".repeat(HUGE / 2)));
    let answers =
        join_all((0..PUBLISHERS).map(|_| door.backend.post("/v1/notifications", body.clone())));
    for (status, answer) in answers.await {
        assert!([400, 408, 413, 422, 503].contains(&status), "{status} {answer}");
    }
    let peak = door.server.peak();
    println!("resident: {before} MiB before, {peak} MiB at most");
    // 8 bodies of 32 MiB are read at a time, in buffers that have grown by doubling: 24 would be twice the bound.
    assert!(peak < before + 640, "{before} MiB before, {peak} MiB at most");
    let valid = json!({"user_id": "another", "kind": "small", "payload": 1});
    assert_eq!(door.backend.publish(&valid).await[0]["state"], "waiting");
    healthy.has_everything().await;
    assert_grown_less(&door, before, 640);
}
