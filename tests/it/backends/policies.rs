//! Policy, TTL and limits of a published notification: what the request may set, what the rule of its kind sets,
//! and what the node rejects.

use doorstep_tests::server::{Doorstep, SqliteFile};
use serde_json::{Value, json};

use super::{BARE, Door, states};

const KINDS: &str = r#"
    [trading]
    enabled = false
    [delivery.kinds."now"]
    policy = "immediate"
    [delivery.kinds."later"]
    policy = "deferred"
    [delivery.kinds."polled"]
    strategy = "poll"
    [delivery.kinds."kept"]
    policy = "inbox"
"#;

#[tokio::test]
async fn a_notification_s_own_policy_beats_that_of_its_kind() {
    let database = SqliteFile::new();
    let door = Door::of(Doorstep::serve(&database.url()), KINDS).await;
    let kept = async || {
        let (status, inbox) = door.user("ada").get("/v1/inbox?limit=100").await;
        assert_eq!(status, 200, "{inbox}");
        inbox["notifications"].as_array().unwrap().len()
    };
    for (kind, of_kind) in [
        ("now", "immediate"),
        ("later", "deferred"),
        ("polled", "deferred"),
        ("kept", "inbox"),
        ("unknown", "deferred"),
    ] {
        for wanted in [Value::Null, "immediate".into(), "deferred".into(), "inbox".into()] {
            let before = kept().await;
            let body = json!({"user_id": "ada", "kind": kind, "payload": 1, "policy": wanted});
            let answers = door.backend.publish(&body).await;
            let (state, more) = match wanted.as_str().unwrap_or(of_kind) {
                "immediate" => ("expired", 0),
                "deferred" => ("waiting", 0),
                _ => ("waiting", 1),
            };
            assert_eq!(states(&answers), [state], "{kind} {wanted}");
            assert_eq!(kept().await, before + more, "{kind} {wanted}");
        }
    }
}

#[tokio::test]
async fn an_unknown_policy_is_named_in_the_error() {
    let door = Door::open().await;
    for wrong in [
        json!("sometimes"),
        json!("Immediate"),
        json!(""),
        json!(7),
        json!(true),
        json!(["inbox"]),
        json!({}),
    ] {
        for kind in ["news", "unknown.kind"] {
            let body = json!({"user_id": "ada", "kind": kind, "payload": 1, "policy": wrong});
            let (status, problem) = door.backend.post("/v1/notifications", body.to_string()).await;
            assert_eq!(
                (status, &problem["errors"][0]["field"]),
                (422, &json!("policy")),
                "{wrong}"
            );
        }
    }
    let call = Doorstep::new(&["--listen", "127.0.0.1:0"]).file(
        "doorstep.toml",
        &format!("{BARE}[delivery.kinds.\"unknown.kind\"]\npolicy = \"sometimes\""),
    );
    let finished = call.run().await;
    assert_eq!(finished.code, Some(2));
    let named = r#"delivery.kinds."unknown.kind".policy = "sometimes""#;
    assert!(finished.stderr.contains(named), "{}", finished.stderr);
}

#[tokio::test]
async fn the_longest_ttl_is_the_configured_one() {
    let door = Door::with(&format!("{BARE}[publish]\nmax_ttl = \"90s\"")).await;
    let body = |ttl: u32| json!({"user_id": "ada", "kind": "news", "payload": 1, "ttl": ttl});
    assert_eq!(
        states(&door.backend.publish(&json!([body(0), body(90)])).await),
        ["expired", "waiting"]
    );
    let (status, problem) = door.backend.post("/v1/notifications", body(91).to_string()).await;
    assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!("ttl")));
    assert!(problem["errors"][0]["detail"].as_str().unwrap().contains("0 to 90"), "{problem}");
    // The configuration allows no more than a day.
    let call = Doorstep::new(&["--listen", "127.0.0.1:0"])
        .file("doorstep.toml", &format!("{BARE}[publish]\nmax_ttl = \"25h\""));
    let finished = call.run().await;
    assert_eq!(finished.code, Some(2));
    assert!(finished.stderr.contains("publish.max_ttl"), "{}", finished.stderr);
}

#[tokio::test]
async fn without_room_some_are_rejected_and_accepted_later() {
    let full = "[delivery]\nmax_pending = 3\n[delivery.kinds.\"one\"]\nmax_per_user = 1\noverflow = \"reject\"\n";
    let door = Door::with(&format!("{BARE}{full}")).await;
    let one = |user: &str, n: u8| json!({"user_id": user, "kind": "one", "payload": n, "id": format!("0192f0c1-2345-7abc-8def-0123456789{n:02x}")});
    let answers = door
        .backend
        .publish(&json!([one("ada", 1), one("ada", 2), one("bob", 3), one("cy", 4), one("dee", 5)]))
        .await;
    assert_eq!(states(&answers), ["waiting", "rejected", "waiting", "waiting", "rejected"]);
    assert_eq!(
        (&answers[1]["reason"], &answers[4]["reason"]),
        (&json!("mailbox_full"), &json!("node_full"))
    );
    let rejected = door.backend.state(answers[1]["id"].as_str().unwrap()).await;
    assert_eq!(rejected["state"], "rejected");
    assert!(rejected["ended_at"].is_string(), "{rejected}");

    let mut socket = door.user("ada").connect("doorstep.plain.v1").await;
    assert_eq!(socket.notification().await["payload"], 1);
    door.backend.get("/v1/notifications/0192f0c1-2345-7abc-8def-012345678901?wait=60").await;
    let again = door.backend.publish_at("/v1/notifications?wait=60", &one("ada", 2)).await;
    assert_eq!(states(&again), ["delivered"]);
    assert_eq!(socket.notification().await["payload"], 2);
}
