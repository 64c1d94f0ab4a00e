//! `?wait=SECONDS`: its limits, and requests whose circumstances change while they wait.

use std::time::Duration;

use doorstep_tests::client::User;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::{Backend, Door, states, token};

const ID: &str = "0192f0c1-2345-7abc-8def-0123456789ab";

fn news(user: &str) -> Value {
    json!({"user_id": user, "kind": "news", "payload": 1, "id": ID})
}

/// Waits until the notification is known.
async fn accepted(backend: &Backend) {
    let known = async {
        while backend.get(&format!("/v1/notifications/{ID}")).await.0 != 200 {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_mins(1), known).await.is_ok(), "never known");
}

#[tokio::test]
async fn from_0_to_60_whole_seconds_may_be_waited() {
    let door = Door::open().await;
    for wait in ["61", "-1", "abc", "", "1.5", "+1", "1e1", "99999999999999999999", "1&wait=2"] {
        let query = format!("wait={wait}");
        for (status, problem) in [
            door.backend.post(&format!("/v1/notifications?{query}"), news("ada").to_string()).await,
            door.backend.get(&format!("/v1/notifications/{ID}?{query}")).await,
        ] {
            assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!("wait")), "{query}");
            assert_eq!(problem["errors"][0]["in"], "query");
        }
    }
    assert_eq!(door.backend.get(&format!("/v1/notifications/{ID}")).await.0, 404, "not accepted");
    let answers = door.backend.publish_at("/v1/notifications?wait=0", &news("ada")).await;
    assert_eq!(states(&answers), ["waiting"]);
    let at_once = door.backend.get(&format!("/v1/notifications/{ID}?wait=0")).await;
    assert_eq!(at_once.1["state"], "waiting");
}

#[tokio::test]
async fn one_that_is_not_known_is_not_waited_for() {
    let door = Door::open().await;
    assert_eq!(door.backend.get(&format!("/v1/notifications/{ID}?wait=60")).await.0, 404);
    let wrong = json!([{"user_id": "ada", "kind": "", "payload": 1, "id": ID}]);
    let answers = door.backend.publish_at("/v1/notifications?wait=60", &wrong).await;
    assert_eq!((states(&answers), &answers[0]["id"]), (vec!["rejected"], &json!(ID)));
}

#[tokio::test]
async fn many_wait_for_one_outcome_and_all_hear_it() {
    let door = Door::open().await;
    let asks = (0..20).map(|n| {
        let backend = door.backend.clone();
        tokio::spawn(async move {
            // Some requests publish it again, and some query its state.
            if n % 2 == 0 {
                let answers = backend.publish_at("/v1/notifications?wait=60", &news("ada")).await;
                answers[0]["state"].clone()
            } else {
                accepted(&backend).await;
                backend.get(&format!("/v1/notifications/{ID}?wait=60")).await.1["state"].clone()
            }
        })
    });
    let asks: Vec<_> = asks.collect();
    accepted(&door.backend).await;
    let mut socket = door.user("ada").connect("doorstep.plain.v1").await;
    assert_eq!(socket.notification().await["id"], ID);
    for ask in asks {
        assert_eq!(ask.await.unwrap(), "delivered");
    }
    assert!(socket.round_trip().await.is_empty(), "pushed once");
}

#[tokio::test]
async fn a_request_that_waits_survives_the_revocation_of_its_key_and_later_ones_do_not() {
    let mut door = Door::open().await;
    let backend = door.backend.clone();
    let waiting =
        tokio::spawn(
            async move { backend.publish_at("/v1/notifications?wait=60", &news("ada")).await },
        );
    accepted(&door.backend).await;
    let file = std::fs::read_to_string(door.call.dir().join("doorstep.toml")).unwrap();
    let without: String =
        file.lines().filter(|line| !line.starts_with("shop = ")).collect::<Vec<_>>().join("\n");
    std::fs::write(door.call.dir().join("doorstep.toml"), without).unwrap();
    door.server.hang_up();
    door.server.logged("reloaded the keys", 1).await;
    assert_eq!(door.backend.get(&format!("/v1/notifications/{ID}")).await.0, 401);
    let mut socket = User::with_token(door.server.url(), "ada", &token("ada"))
        .connect("doorstep.plain.v1")
        .await;
    assert_eq!(socket.notification().await["id"], ID);
    assert_eq!(states(&waiting.await.unwrap()), ["delivered"]);
}

#[tokio::test]
async fn hanging_up_during_a_wait_does_not_affect_the_notification() {
    let door = Door::open().await;
    let address = door.server.url().trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let body = news("ada").to_string();
    let request = format!(
        "POST /v1/notifications?wait=60 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        door.backend.key,
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    accepted(&door.backend).await;
    drop(stream);
    let mut socket = door.user("ada").connect("doorstep.plain.v1").await;
    assert_eq!(socket.notification().await["id"], ID);
    let (_, state) = door.backend.get(&format!("/v1/notifications/{ID}?wait=60")).await;
    assert_eq!(state["state"], "delivered");
}
