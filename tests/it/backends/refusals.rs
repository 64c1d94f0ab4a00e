//! Bad input: every field that is wrong is named, and nothing is half accepted.

use serde_json::{Value, json};

use super::{Backend, Door, token};

const DRAFT: &str = r#""user_id":"ada","kind":"news","payload":1"#;

fn fields(problem: &Value) -> Vec<&str> {
    let errors = problem["errors"].as_array().map_or(&[][..], Vec::as_slice);
    errors.iter().map(|error| error["field"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn every_field_out_of_range_names_itself() {
    let door = Door::open().await;
    let long = "x".repeat(129);
    let payload = "x".repeat(32 * 1024);
    let cases: Vec<(String, u16, &[&str])> = vec![
        ("".into(), 400, &[]),
        ("{".into(), 400, &[]),
        ("[{".into(), 400, &[]),
        (format!("{{{DRAFT}}} {{}}"), 400, &[]),
        ("7".into(), 422, &[""]),
        ("null".into(), 422, &[""]),
        ("{}".into(), 422, &["user_id", "kind", "payload"]),
        (format!("{{{DRAFT},\"extra\":1}}"), 422, &["extra"]),
        (format!("{{{DRAFT},\"kind\":\"again\"}}"), 422, &["kind"]),
        (r#"{"user_id":"","kind":"news","payload":1}"#.into(), 422, &["user_id"]),
        (r#"{"user_id":7,"kind":"news","payload":1}"#.into(), 422, &["user_id"]),
        (r#"{"user_id":"\ud800","kind":"news","payload":1}"#.into(), 422, &["user_id"]),
        (format!(r#"{{"user_id":"{long}","kind":"news","payload":1}}"#), 422, &["user_id"]),
        (r#"{"user_id":"ada","kind":"two words","payload":1}"#.into(), 422, &["kind"]),
        (r#"{"user_id":"ada","kind":null,"payload":1}"#.into(), 422, &["kind"]),
        (format!(r#"{{"user_id":"ada","kind":"news","payload":"{payload}"}}"#), 422, &["payload"]),
        (format!("{{{DRAFT},\"topic\":\"two words\"}}"), 422, &["topic"]),
        (format!("{{{DRAFT},\"ttl\":86401}}"), 422, &["ttl"]),
        (format!("{{{DRAFT},\"ttl\":-1}}"), 422, &["ttl"]),
        (format!("{{{DRAFT},\"ttl\":1.5}}"), 422, &["ttl"]),
        (format!("{{{DRAFT},\"ttl\":\"60\"}}"), 422, &["ttl"]),
        (format!("{{{DRAFT},\"ttl\":1e999}}"), 422, &["ttl"]),
        (format!("{{{DRAFT},\"policy\":\"sometimes\"}}"), 422, &["policy"]),
        (format!("{{{DRAFT},\"policy\":\"inbox\"}}"), 422, &["policy"]),
        (format!("{{{DRAFT},\"id\":\"7\"}}"), 422, &["id"]),
        (format!("[{}]", vec!["{}"; 1001].join(",")), 422, &[""]),
        (
            r#"{"user_id":"","kind":"","payload":1,"ttl":-1,"topic":"","policy":"","id":""}"#
                .into(),
            422,
            &["id", "user_id", "kind", "topic", "policy", "ttl"],
        ),
    ];
    for (body, status, expected) in cases {
        let what: String = body.chars().take(100).collect();
        let (got, problem) = door.backend.post("/v1/notifications", body).await;
        assert_eq!((got, fields(&problem)), (status, expected.to_vec()), "{what}: {problem}");
    }
    // Nothing of all that was accepted: who comes now finds nothing.
    let mut socket = door.user("ada").connect("doorstep.plain.v1").await;
    assert_eq!(socket.round_trip().await, Vec::<String>::new());
}

#[tokio::test]
async fn the_smallest_and_the_largest_that_is_right_is_taken() {
    let door = Door::open().await;
    let payload = "x".repeat(32 * 1024 - 2);
    let bodies = [
        json!({"user_id": "x".repeat(128), "kind": "k".repeat(64), "payload": payload, "ttl": 86400}),
        json!({"user_id": "\u{1F600}", "kind": "k", "payload": null, "topic": null, "ttl": null,
            "policy": null, "id": null}),
    ];
    for body in bodies {
        assert_eq!(door.backend.publish(&body).await[0]["state"], "waiting");
    }
    // A thousand of the largest, in one body.
    let largest = json!({"user_id": "y", "kind": "news", "payload": payload, "topic": "t"});
    let answers = door.backend.publish(&json!(vec![largest; 1000])).await;
    assert_eq!(answers.len(), 1000);
}

#[tokio::test]
async fn queries_paths_and_presence_are_judged_too() {
    let door = Door::open().await;
    for (path, status, field) in [
        ("/v1/notifications/0192f0c1-2345-7abc-8def-0123456789ab", 404, None),
        ("/v1/notifications/seven", 404, None),
        ("/v1/notifications/0192f0c1-2345-7abc-8def-0123456789ab?wait=61", 422, Some("wait")),
        ("/v1/notifications/0192f0c1-2345-7abc-8def-0123456789ab?wait=soon", 422, Some("wait")),
        ("/v1/notifications/0192f0c1-2345-7abc-8def-0123456789ab?hurry=1", 422, Some("hurry")),
        ("/v1/users/%FF/presence", 422, Some("user_id")),
        ("/v1/users/ada/presence?x=1", 422, Some("x")),
        ("/v1/notifications", 405, None),
    ] {
        let (got, problem) = door.backend.get(path).await;
        assert_eq!((got, fields(&problem).first().copied()), (status, field), "{path}: {problem}");
    }
    let long = format!("/v1/users/{}/presence", "x".repeat(129));
    assert_eq!(fields(&door.backend.get(&long).await.1), ["user_id"]);
    for (body, expected) in [
        (json!({}), "user_ids"),
        (json!({"user_ids": "ada"}), "user_ids"),
        (json!({"user_ids": ["ada", ""]}), "user_ids[1]"),
        (json!({"user_ids": [7]}), "user_ids[0]"),
        (json!({"user_ids": vec!["ada"; 1001]}), "user_ids"),
        (json!({"user_ids": [], "x": 1}), "x"),
    ] {
        let (status, problem) = door.backend.post("/v1/presence", body.to_string()).await;
        assert_eq!((status, fields(&problem)), (422, vec![expected]), "{body}: {problem}");
    }
    let huge = vec![b' '; 40 * 1024 * 1024];
    // The server may answer and hang up before all of it is written.
    let request = door.backend.http.post(format!("{}/v1/notifications", door.backend.url));
    let request = request.header("content-type", "application/json").bearer_auth(&door.backend.key);
    if let Ok(response) = request.body(huge).send().await {
        assert_eq!(response.status(), 413);
    }
}

#[tokio::test]
async fn a_service_key_is_no_user_and_a_user_is_no_backend() {
    let door = Door::with("").await;
    let url = door.server.url();
    for shown in ["dsk_nobody", "nobody", "", &token("ada"), &door.backend.key[4..]] {
        let stranger = Backend::new(url, shown);
        for (method, path) in [
            ("post", "/v1/notifications"),
            ("post", "/v1/presence"),
            ("get", "/v1/users/ada/presence"),
            ("get", "/v1/notifications/0192f0c1-2345-7abc-8def-0123456789ab"),
        ] {
            // A body that would be refused: the key is looked at first.
            let (status, problem) = match method {
                "post" => stranger.post(path, "{").await,
                _ => stranger.get(path).await,
            };
            assert_eq!(status, 401, "{shown} {path}: {problem}");
        }
    }
    for path in ["/v1/me", "/v1/ledger", "/v1/ws"] {
        let (status, problem) = door.backend.get(path).await;
        assert_eq!(status, 401, "{path}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains("service key"), "{problem}");
    }
}
