//! Invalid input: every invalid field is named, and nothing is partly accepted.

use serde_json::{Value, json};

use super::{Door, states};

const DRAFT: &str = r#""user_id":"ada","kind":"news","payload":1"#;

fn fields(problem: &Value) -> Vec<&str> {
    let errors = problem["errors"].as_array().map_or(&[][..], Vec::as_slice);
    errors.iter().map(|error| error["field"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn every_field_out_of_range_names_itself() {
    let door = Door::open().await;
    let long = "x".repeat(129);
    // One byte more than 32 KiB with its quotes.
    let payload = "x".repeat(32 * 1024 - 1);
    let cases: Vec<(String, u16, &[&str])> = vec![
        (String::new(), 400, &[]),
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
        (format!("{{{DRAFT},\"ttl\":60.0}}"), 422, &["ttl"]),
        (format!("{{{DRAFT},\"ttl\":18446744073709551616}}"), 422, &["ttl"]),
        (format!("{{{DRAFT},\"ttl\":true}}"), 422, &["ttl"]),
        (format!("{{{DRAFT},\"ttl\":[60]}}"), 422, &["ttl"]),
        (format!("{{{DRAFT},\"topic\":7}}"), 422, &["topic"]),
        (format!("{{{DRAFT},\"topic\":\"\"}}"), 422, &["topic"]),
        (format!("{{{DRAFT},\"topic\":\"{}\"}}", "t".repeat(65)), 422, &["topic"]),
        (format!("{{{DRAFT},\"id\":7}}"), 422, &["id"]),
        (format!("{{{DRAFT},\"id\":\"\"}}"), 422, &["id"]),
        (format!("{{{DRAFT},\"ttl\":60,\"ttl\":60}}"), 422, &["ttl"]),
        (format!("{{{DRAFT},\"Payload\":1}}"), 422, &["Payload"]),
        (format!("{{{DRAFT},\"payload\":1}}"), 422, &["payload"]),
        (r#"{"user_id":null,"kind":"news","payload":1}"#.into(), 422, &["user_id"]),
        (r#"{"user_id":["ada"],"kind":"news","payload":1}"#.into(), 422, &["user_id"]),
        (r#"{"user_id":"ada","kind":"","payload":1}"#.into(), 422, &["kind"]),
        (r#"{"user_id":"ada","kind":7,"payload":1}"#.into(), 422, &["kind"]),
        (format!(r#"{{"user_id":"ada","kind":"{}","payload":1}}"#, "k".repeat(65)), 422, &["kind"]),
        (r#"{"user_id":"ada","kind":"news"}"#.into(), 422, &["payload"]),
        (r#"{"user_id":"ada","kind":"news","payload":nan}"#.into(), 400, &[]),
        ("\"news\"".into(), 422, &[""]),
        ("true".into(), 422, &[""]),
        (format!("[{{{DRAFT}}},]"), 400, &[]),
        (format!("[{{{DRAFT}}}"), 400, &[]),
        (format!("\u{feff}{{{DRAFT}}}"), 400, &[]),
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
    // None of these was accepted: a user who connects now receives nothing.
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
    // A thousand of the largest size in one body.
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
    let request = door.backend.http.post(format!("{}/v1/notifications", door.backend.url));
    let request = request.header("content-type", "application/json").bearer_auth(&door.backend.key);
    // The client gets the response although it sends the whole body first.
    assert_eq!(request.body(huge).send().await.unwrap().status(), 413);
}

#[tokio::test]
async fn any_json_is_a_payload_and_arrives_as_it_was_written() {
    let door = Door::open().await;
    // The deepest nesting that a payload may have.
    let deep = format!("{}1{}", "[".repeat(128), "]".repeat(128));
    let payloads = [
        "null",
        "true",
        "-0.0",
        "1e999",
        "12345678901234567890123",
        "\"\"",
        "[]",
        "{}",
        "{ \"a\" : [1,\n2,\t{\"b\":null}] }",
        "{\"a\":1,\"a\":2}",
        "\"\\u0000\\ud83d\\ude00\"",
        &deep,
    ];
    let draft = |payload| format!(r#"{{"user_id":"ada","kind":"news","payload":{payload}}}"#);
    let body = format!("[{}]", payloads.map(draft).join(","));
    let (status, answer) = door.backend.post("/v1/notifications", body).await;
    assert_eq!(status, 202, "{answer}");
    let mut socket = door.user("ada").connect("doorstep.plain.v1").await;
    let mut frames = Vec::new();
    while frames.len() < payloads.len() {
        frames.append(&mut socket.round_trip().await);
    }
    for (frame, payload) in frames.iter().zip(payloads) {
        let payload = payload.trim();
        assert!(
            frame.ends_with(&format!("\"payload\":{payload}}}")),
            "{payload:.80} in {frame:.200}"
        );
    }
}

#[tokio::test]
async fn one_that_is_wrong_holds_up_none_of_those_beside_it() {
    let door = Door::open().await;
    let wrong = [
        format!(r#"{{{DRAFT},"kind":"again"}}"#),
        format!(r#"{{{DRAFT},"ttl":86401}}"#),
        format!(r#"{{{DRAFT},"extra":1,"id":"0192f0c1-2345-7abc-8def-0123456789ab"}}"#),
        format!(r#"{{"user_id":"ada","kind":"news","payload":"{}"}}"#, "x".repeat(32 * 1024 - 1)),
        format!(
            r#"{{"user_id":"ada","kind":"news","payload":{}{}}}"#,
            "[".repeat(129),
            "]".repeat(129)
        ),
        "[]".into(),
        "null".into(),
    ];
    let mut items: Vec<String> = Vec::new();
    for (n, wrong) in wrong.iter().enumerate() {
        items.push(format!(r#"{{"user_id":"ada","kind":"news","payload":{n}}}"#));
        items.push(wrong.clone());
    }
    let (status, answer) =
        door.backend.post("/v1/notifications", format!("[{}]", items.join(","))).await;
    assert_eq!(status, 202, "{answer}");
    let answers = answer["notifications"].as_array().unwrap();
    for (at, answer) in answers.iter().enumerate() {
        let expected = if at % 2 == 0 { "waiting" } else { "rejected" };
        assert_eq!(answer["state"], expected, "{at}: {answer}");
        assert_eq!(at % 2 == 1, answer["reason"] == "invalid", "{answer}");
    }
    let named: Vec<_> = answers.iter().skip(1).step_by(2).map(|a| fields(a)[0]).collect();
    assert_eq!(named, ["kind", "ttl", "extra", "payload", "payload", "", ""]);
    assert_eq!(answers[5]["id"], "0192f0c1-2345-7abc-8def-0123456789ab");
    let mut socket = door.user("ada").connect("doorstep.plain.v1").await;
    for n in 0..wrong.len() {
        assert_eq!(socket.notification().await["payload"], n);
    }
    assert!(socket.round_trip().await.is_empty());
}

#[tokio::test]
async fn of_1001_not_one_is_taken() {
    let door = Door::open().await;
    let one = format!("{{{DRAFT}}}");
    let (status, problem) = door
        .backend
        .post("/v1/notifications", format!("[{}]", vec![one.as_str(); 1001].join(",")))
        .await;
    assert_eq!(status, 422, "{problem}");
    assert!(problem["errors"][0]["detail"].as_str().unwrap().contains("1000"), "{problem}");
    let mut socket = door.user("ada").connect("doorstep.plain.v1").await;
    assert!(socket.round_trip().await.is_empty());
    let (status, answer) = door
        .backend
        .post("/v1/notifications", format!("[{}]", vec![one.as_str(); 1000].join(",")))
        .await;
    assert_eq!((status, states(answer["notifications"].as_array().unwrap()).len()), (202, 1000));
}

#[tokio::test]
async fn a_body_says_that_it_is_json() {
    let door = Door::open().await;
    let body = format!("{{{DRAFT}}}");
    for (content_type, status) in [
        (None, 415),
        (Some("text/plain"), 415),
        (Some("application/x-www-form-urlencoded"), 415),
        (Some("application/jsonp"), 415),
        (Some("application/json; charset=utf-8"), 202),
        (Some("APPLICATION/JSON"), 202),
    ] {
        let url = format!("{}/v1/notifications", door.server.url());
        let mut request =
            door.backend.http.post(url).bearer_auth(&door.backend.key).body(body.clone());
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        assert_eq!(request.send().await.unwrap().status(), status, "{content_type:?}");
    }
}
