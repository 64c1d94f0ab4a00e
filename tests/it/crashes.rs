//! What a crash costs: each way to send a notification against each kind of crash, as docs/promises.md has it in one
//! table. Cells that other modules test are found there by name.

mod commit;
mod database;
mod network;
mod node;
mod table;

use doorstep_tests::client::{Socket, User};
use doorstep_tests::server::Doorstep;
use serde_json::{Value, json};

use crate::backends::Door;

/// The event bus raises two notifications when a user registers: one is kept in the inbox, one is deferred. A backend
/// may send both too.
const RULES: &str = "
    [delivery]\nttl = \"1h\"\nmax_per_user = 1000
    [delivery.kinds.welcome]\npolicy = \"inbox\"
    [delivery.kinds.\"news.kept\"]\npolicy = \"inbox\"
";

const ACKS: &str = "doorstep.v1";

async fn door(database: &str) -> Door {
    Door::of(Doorstep::serve(database), RULES).await
}

/// Registers Ada and waits until the two notifications of the bus are accepted.
async fn registered(door: &Door) -> User {
    let ada = User::register(door.server.url(), "ada").await;
    let path = format!("/v1/users/{}", ada.id);
    crate::node::eventually("one is kept, one is deferred", async || {
        let there = door.backend.get(&path).await.1;
        there["unread"] == 1 && there["waiting"] == 1
    })
    .await;
    ada
}

fn news(user: &str, kind: &str) -> Value {
    json!({"user_id": user, "kind": kind, "payload": "news"})
}

/// The next notifications, sorted by kind; each is acknowledged.
async fn kinds(socket: &mut Socket, count: usize) -> Vec<String> {
    let mut kinds = Vec::new();
    for _ in 0..count {
        let frame = socket.notification().await;
        kinds.push(frame["kind"].as_str().unwrap().to_owned());
        socket.acknowledge(&frame).await;
    }
    assert!(socket.round_trip().await.is_empty(), "more than {kinds:?}");
    kinds.sort();
    kinds
}
