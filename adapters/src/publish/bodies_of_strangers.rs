//! Bodies that nobody has written down: mutated valid ones. Each is read as `serde_json` reads it, or refused with a
//! problem that says where.

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest as _, Request};
use axum::response::IntoResponse as _;
use doorstep_application::publishing::{Draft, DraftBounds, WantedPolicy};
use doorstep_domain::{Payload, Topic, Ttl};
use proptest::prelude::*;
use serde_json::{Map, Value};
use tokio::runtime::{Builder, Runtime};

use super::MAX_BATCH;
use super::notifications::{PublishedItemBody, judge};
use super::presence::user_ids;
use crate::http::mutated::{Mutated, mutated};
use crate::http::{Fields, LargeBodies, Problem};

const EXAMPLES: &[&str] = &[
    r#"{"user_id":"ada","kind":"news","payload":{"text":"hello","more":[1,2.5e3,null,true]}}"#,
    r#"{"user_id":"01949c2e-7a5b-7cc0-8d4e-0123456789ab","kind":"reward.granted","payload":"1.00","topic":"balance",
        "ttl":60,"policy":"inbox","id":"01949c2e-7a5b-7cc0-8d4e-0123456789ab"}"#,
    r#"{"user_id":"customer/42 \u00e9\ud83d\ude00","kind":"a_b-c","payload":null,"topic":null,"ttl":null,"id":null}"#,
    r#"[{"user_id":"ada","kind":"news","payload":1,"ttl":0},{"user_id":"bob","kind":"news","payload":2,
        "policy":"immediate"},{"user_id":"","kind":"two words","payload":3}]"#,
    "[]",
];

const WORDS: &[&str] = &[
    "\"user_id\":",
    "\"kind\":",
    "\"payload\":",
    "\"topic\":",
    "\"ttl\":",
    "\"policy\":",
    "\"id\":",
    "\"ada\"",
    "\"deferred\"",
    "null",
    "true",
    "{",
    "}",
    "[",
    "]",
    "[[",
    "]]",
    ",",
    ":",
    "\"",
    "\\",
    "\\u0061",
    "\\u0000",
    "\\ud800",
    "-1",
    "1.0",
    "6e1",
    "86401",
    "1e999",
    "99999999999999999999",
    " ",
    "\n",
    "\u{0}",
    "\u{feff}",
    "é",
    "{\"a\":",
    "{},",
    "0123456789",
];

const BOUNDS: DraftBounds = DraftBounds { max_ttl: Ttl::MAX, inbox: true };

thread_local! {
    /// For the time limits of bodies.
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
}

fn run<T>(work: impl Future<Output = T>) -> T {
    RUNTIME.with(|runtime| runtime.block_on(work))
}

/// A request with this body.
fn request(body: &[u8]) -> Request {
    let request = Request::post("/").header("content-type", "application/json");
    request.body(Body::from(body.to_vec())).expect("a request")
}

/// The status and the body of a problem.
fn answer(problem: Problem) -> (u16, Value) {
    let response = problem.into_response();
    let status = response.status().as_u16();
    let body = run(to_bytes(response.into_body(), usize::MAX));
    (status, serde_json::from_slice(&body.expect("a body")).expect("JSON"))
}

/// A refusal says which field is at fault, or where the text stops being JSON.
fn check_refusal(problem: Problem, body: &[u8]) {
    let shown = String::from_utf8_lossy(body);
    let (status, problem) = answer(problem);
    let detail = problem["detail"].as_str().expect("a detail");
    match status {
        400 => assert!(
            (detail.contains(" at line ") && detail.contains(" column "))
                || detail.contains("byte order mark"),
            "{detail} of {shown:?}"
        ),
        422 => check_faults(&problem["errors"], &shown),
        other => panic!("{other} to {shown:?}"),
    }
}

fn check_faults(faults: &Value, shown: &str) {
    let faults = faults.as_array().expect("an array");
    assert!((1..=20).contains(&faults.len()), "{faults:?} of {shown:?}");
    for fault in faults {
        let text = |name: &str| fault[name].as_str().expect("text").to_owned();
        assert!(text("in") == "body" && !text("detail").is_empty(), "{fault} of {shown:?}");
        assert!(text("field").chars().count() <= 64, "{fault} of {shown:?}");
    }
}

/// The depth of a value's arrays and objects.
fn depth(value: &Value) -> usize {
    let deepest = |inner: &mut dyn Iterator<Item = &Value>| 1 + inner.map(depth).max().unwrap_or(0);
    match value {
        Value::Array(items) => deepest(&mut items.iter()),
        Value::Object(members) => deepest(&mut members.values()),
        _ => 0,
    }
}

/// Whether these are the members of a valid notification.
fn is_valid(members: &Map<String, Value>) -> bool {
    let optional = |name: &str, valid: &dyn Fn(&Value) -> bool| {
        members.get(name).is_none_or(|value| value.is_null() || valid(value))
    };
    let text = |value: &Value, most: usize, letter: fn(char) -> bool| {
        value
            .as_str()
            .is_some_and(|text| (1..=most).contains(&text.len()) && text.chars().all(letter))
    };
    let known = ["user_id", "kind", "payload", "topic", "ttl", "policy", "id"];
    members.keys().all(|name| known.contains(&name.as_str()))
        && members.get("user_id").is_some_and(|id| text(id, 128, |_| true))
        && members.get("kind").is_some_and(|kind| {
            text(kind, 64, |c| c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c))
        })
        && members.get("payload").is_some_and(|payload| depth(payload) <= Payload::MAX_DEPTH)
        && optional("topic", &|topic| text(topic, 64, |c| ('!'..='~').contains(&c)))
        && optional("ttl", &|ttl| ttl.as_u64().is_some_and(|ttl| ttl <= 86_400))
        && optional("policy", &|word| {
            ["immediate", "deferred", "inbox"].map(Value::from).contains(word)
        })
        && optional("id", &|id| id.as_str().is_some_and(|id| uuid::Uuid::try_parse(id).is_ok()))
}

/// Compares one notification, as it was read, with the tree of `serde_json`.
fn check_one(read: &Result<Draft, PublishedItemBody>, value: &Value, shown: &str) {
    match read {
        Ok(draft) => {
            let policy = draft.policy.map(|policy| match policy {
                WantedPolicy::Immediate => "immediate",
                WantedPolicy::Deferred => "deferred",
                WantedPolicy::Inbox => "inbox",
            });
            let payload: Value =
                serde_json::from_str(draft.payload.as_str()).expect("the tree read it");
            let members = value.as_object().expect("an object was read");
            assert!(is_valid(members), "{draft:?} of {shown:?}");
            assert_eq!(value["user_id"], draft.user_id.to_string(), "{shown:?}");
            assert_eq!(value["kind"], draft.kind.to_string(), "{shown:?}");
            assert_eq!(value["payload"], payload, "{shown:?}");
            assert_eq!(
                value["topic"].as_str(),
                draft.topic.as_ref().map(Topic::as_str),
                "{shown:?}"
            );
            assert_eq!(
                value["ttl"].as_u64(),
                draft.ttl.map(|ttl| ttl.as_duration().as_secs()),
                "{shown:?}"
            );
            assert_eq!(value["policy"].as_str(), policy, "{shown:?}");
            let id = value["id"].as_str().map(|id| id.parse().expect("it was read"));
            assert_eq!(id, draft.id, "{shown:?}");
        }
        Err(refused) => {
            let refused = serde_json::to_value(refused).expect("JSON");
            check_faults(&refused["errors"], shown);
            // The tree does not show which members are given twice, and how large a payload is as text.
            let faults = refused["errors"].to_string();
            let hidden = faults.contains("more than once") || faults.contains("bytes of JSON");
            assert!(hidden || !value.as_object().is_some_and(is_valid), "{faults} of {shown:?}");
        }
    }
}

pub(crate) fn check_body(body: &[u8]) {
    let shown = String::from_utf8_lossy(body);
    let large = LargeBodies::new(1, 1 << 20);
    let read = run(large.json_bytes(request(body)));
    let judged = match read.and_then(|(bytes, _)| judge(&bytes, BOUNDS)) {
        Ok(judged) => judged,
        Err(problem) => return check_refusal(problem, body),
    };
    assert!(judged.len() <= MAX_BATCH);
    // The tree refuses what is well-formed and not for it: large numbers, half surrogates, deep nesting.
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        let text = std::str::from_utf8(body).expect("what was read is UTF-8");
        assert!(serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok(), "{shown:?}");
        return;
    };
    let values = match &value {
        Value::Array(values) => values.as_slice(),
        one => std::slice::from_ref(one),
    };
    assert_eq!(values.len(), judged.len(), "{shown:?}");
    for (read, value) in judged.iter().zip(values) {
        check_one(read, value, &shown);
    }
}

const QUESTIONS: &[&str] = &[
    r#"{"user_ids":["ada","01949c2e-7a5b-7cc0-8d4e-0123456789ab","customer/42 \u00e9"]}"#,
    r#"{"user_ids":[]}"#,
];

pub(crate) fn check_question(body: &[u8]) {
    let fields = run(Fields::from_request(request(body), &()));
    match fields.and_then(|fields| fields.read(user_ids)) {
        Ok(users) => {
            let value: Value = serde_json::from_slice(body).expect("what was read is JSON");
            let users: Vec<_> = users.iter().map(ToString::to_string).collect();
            assert_eq!(value, serde_json::json!({ "user_ids": users }));
        }
        Err(problem) => check_refusal(problem, body),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_500) })]

    #[test]
    fn a_body_is_read_as_another_parser_reads_it_or_refused_with_its_place(Mutated(body) in mutated(EXAMPLES, WORDS)) {
        check_body(&body);
    }

    #[test]
    fn the_fields_of_any_body_are_read_or_refused_with_their_place(Mutated(body) in mutated(QUESTIONS, WORDS)) {
        check_question(&body);
    }
}

#[test]
fn an_array_with_more_than_the_most_is_refused_whatever_is_in_it() {
    for item in ["{}", "7", "[[[]]]"] {
        for (count, status) in [(MAX_BATCH, None), (MAX_BATCH + 1, Some(422))] {
            let body = format!("[{}]", vec![item; count].join(","));
            let refused = judge(body.as_bytes(), BOUNDS).err().map(|problem| answer(problem).0);
            assert_eq!(refused, status, "{count} of {item}");
        }
    }
    let unread = format!("[{}, and no JSON", vec!["7"; MAX_BATCH + 1].join(","));
    let refused = judge(unread.as_bytes(), BOUNDS).map(|_| "taken").map_err(|it| answer(it).0);
    assert_eq!(refused, Err(422), "what follows one too many is not read");
}

#[test]
fn a_payload_is_bounded_in_size_and_depth_wherever_it_stands() {
    let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    let long = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    for (payload, taken) in [
        (deep(Payload::MAX_DEPTH), true),
        (deep(Payload::MAX_DEPTH + 1), false),
        (deep(15_000), false),
        (long(Payload::MAX_BYTES), true),
        (long(Payload::MAX_BYTES + 1), false),
    ] {
        let one = format!(r#"{{"user_id":"ada","kind":"news","payload":{payload}}}"#);
        let [alone, among] = [one.clone(), format!("[{one}]")].map(|body| {
            judge(body.as_bytes(), BOUNDS).is_ok_and(|read| read.iter().all(Result::is_ok))
        });
        assert_eq!((alone, among), (taken, taken), "{} bytes", payload.len());
    }
}
