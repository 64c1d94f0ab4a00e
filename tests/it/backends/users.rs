//! User ids chosen by the backend: any UTF-8 string of 1 to 128 bytes, everywhere an id can occur.

use std::fmt::Write as _;

use doorstep_tests::client::User;
use doorstep_tests::postgres::Postgres;
use doorstep_tests::server::{Doorstep, SqliteFile};
use serde_json::json;

use super::{Door, token};

fn ids() -> Vec<String> {
    let odd = [
        "customer/42",
        "a b",
        "../..",
        ".",
        "100%",
        "%41",
        "?x=1#y",
        "\"quoted\\\"",
        "zoë",
        "\u{1F600}",
        "tab\tline\nreturn\r",
        "\0",
        "a\0b",
        r"a\0b",
        "\u{1b}[31m",
        "\u{feff}",
        "null",
        "7",
        "0192F0C1-2345-7ABC-8DEF-0123456789AB",
        "0192f0c1-2345-7abc-8def-0123456789ab",
        "0192f0c123457abc8def0123456789ab",
    ];
    let long = ["x".repeat(128), "é".repeat(64), "\u{1F600}".repeat(32), "\0".repeat(128)];
    odd.into_iter().map(str::to_owned).chain(long).collect()
}

/// Every byte as `%XX`.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        write!(all, "%{byte:02X}").unwrap();
        all
    })
}

#[tokio::test]
async fn any_string_up_to_128_bytes_is_a_user() {
    let door = Door::open().await;
    let ids = ids();
    let all: Vec<_> =
        ids.iter().map(|id| json!({"user_id": id, "kind": "news", "payload": id})).collect();
    door.backend.publish(&json!(all)).await;
    let mut sockets = Vec::new();
    for id in &ids {
        let mut socket = door.user(id).connect("doorstep.plain.v1").await;
        assert_eq!(socket.notification().await["payload"], json!(id));
        assert!(socket.round_trip().await.is_empty(), "{id:?} got another user's notification");
        sockets.push(socket);
        if id == "." {
            // A URL cannot contain it as a segment: clients resolve it as a relative path, even when escaped.
            continue;
        }
        let path = format!("/v1/users/{}/presence", escaped(id));
        let expected = json!({"user_id": id, "online": true});
        assert_eq!(door.backend.get(&path).await, (200, expected), "{id:?}");
    }
    let body = json!({"user_ids": ids}).to_string();
    let (status, many) = door.backend.post("/v1/presence", body).await;
    let expected: Vec<_> = ids.iter().map(|id| json!({"user_id": id, "online": true})).collect();
    assert_eq!((status, many), (200, json!({"presence": expected})));
}

#[tokio::test]
async fn ids_that_are_too_long_or_empty_or_not_text_are_refused() {
    let door = Door::open().await;
    for id in ["x".repeat(129), "é".repeat(65), String::new()] {
        let body = json!({"user_id": id, "kind": "news", "payload": 1}).to_string();
        let (status, problem) = door.backend.post("/v1/notifications", body).await;
        assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!("user_id")));
        let (status, _) = door.backend.get(&format!("/v1/users/{}/presence", escaped(&id))).await;
        assert_eq!(status, 422);
        let user = User::with_token(door.server.url(), &id, &token(&id));
        assert_eq!(user.get("/v1/ws").await.0, 401);
    }
    let (status, problem) = door.backend.get("/v1/users/%C3%28/presence").await;
    assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!("user_id")));
}

async fn check_they_survive_a_restart(database: &str) {
    let ids = ids();
    let file = "[trading]\nenabled = false\n";
    let door = Door::of(Doorstep::serve(database), file).await;
    let all = |policy: &str, n: u32| -> Vec<_> {
        let one = |id| json!({"user_id": id, "kind": "news", "payload": n, "policy": policy, "ttl": 3600});
        ids.iter().map(one).collect()
    };
    door.backend.publish(&json!(all("inbox", 1))).await;
    door.backend.publish(&json!(all("deferred", 2))).await;
    door.server.terminate();
    assert_eq!(door.server.wait().await.code, Some(0));
    let server = door.call.start().await;
    for id in &ids {
        let mut socket =
            User::with_token(server.url(), id, &token(id)).connect("doorstep.plain.v1").await;
        let mut got = Vec::new();
        for _ in 0..2 {
            got.push(socket.notification().await["payload"].as_u64().unwrap());
        }
        got.sort_unstable();
        assert_eq!(got, [1, 2], "{id:?}");
    }
}

#[tokio::test]
async fn they_survive_a_restart_on_sqlite() {
    check_they_survive_a_restart(&SqliteFile::new().url()).await;
}

#[tokio::test]
async fn they_survive_a_restart_on_postgres() {
    check_they_survive_a_restart(&Postgres::shared().await.database().await).await;
}
