//! Databases of every earlier version come up under this binary, with what is in them.

use std::path::Path;
use std::time::SystemTime;

use doorstep_tests::client::{PASSWORD, User};
use doorstep_tests::server::Doorstep;
use serde_json::{Value, json};

use super::Database;
use super::json::object;

impl Database {
    /// An empty database of each store, with the name of its folder of fixtures.
    pub(super) async fn of_each_store() -> [(&'static str, Self); 2] {
        [("sqlite", Self::sqlite()), ("postgres", Self::postgres().await)]
    }

    /// Fills it with the database of an earlier version.
    pub(super) async fn load(&self, store: &str, version: i64) {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let path = fixtures.join(store).join(format!("{version}.sql"));
        let sql = std::fs::read_to_string(&path);
        let sql = sql.unwrap_or_else(|e| panic!("{}: {e}; see README.md there", path.display()));
        self.run(&sql).await;
    }
}

/// The number of this binary's newest migration.
async fn newest() -> i64 {
    let plan = Doorstep::new(&["migrate", "--plan", "--json"]).run().await;
    object(&plan)["program"].as_i64().unwrap()
}

/// Signs in with the password of all users of the fixtures.
async fn sign_in(server: &str, name: &str) -> User {
    let body = json!({"username": name, "password": PASSWORD});
    let request = reqwest::Client::new().post(format!("{server}/v1/sessions")).json(&body);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 201);
    let session: Value = response.json().await.unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    User::with_token(server, &text(&session["user"]["id"]), &text(&session["token"]))
}

async fn comes_up(store: &str, database: &Database, version: i64) {
    database.load(store, version).await;
    if version >= 2 {
        // What was handed over a moment ago.
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros();
        database.run(&format!("UPDATE handover SET created_at = {now} - 1000000")).await;
    }
    let server = Doorstep::serve(&database.url).start().await;
    let ada = sign_in(server.url(), "ada").await;
    // Positions came with the third migration.
    let (balance, kind) =
        if version < 3 { ("1000.00", "welcome") } else { ("774.88", "position.closed") };
    assert_eq!(ada.balance().await, balance);
    let (_, positions) = ada.get("/v1/positions").await;
    let count = |status| {
        let all = positions["positions"].as_array().unwrap();
        all.iter().filter(|position| position["status"] == status).count()
    };
    assert_eq!((count("open"), count("closed")), if version < 3 { (0, 0) } else { (1, 1) });

    // The inbox and the handover came with the second.
    let (_, inbox) = ada.get("/v1/inbox").await;
    let items = inbox["notifications"].as_array().unwrap();
    assert_eq!(items.len(), [0, 2, 3][usize::try_from(version - 1).unwrap().min(2)], "{inbox}");
    if version >= 2 {
        let read = items.iter().find(|item| item["kind"] == "welcome").unwrap();
        assert!(read["read_at"].is_string(), "{read}");
        let mut socket = ada.connect("doorstep.v1").await;
        let pushed = socket.kinds(items.len()).await;
        assert!(pushed.iter().any(|pushed| pushed == kind), "{kind}: {pushed:?}");
        assert_eq!(database.count("SELECT COUNT(*) FROM handover").await, 0);
    }

    // And everything can be written.
    let dan = User::register(server.url(), "dan").await;
    dan.has("1000.00").await;
    let order = json!({"symbol": "ACME", "side": "long", "quantity": "1"});
    let (status, position) = ada.post("/v1/positions", &order).await;
    assert_eq!(status, 201, "{position}");
    let (status, _) = ada.post("/v1/inbox/read", &json!({})).await;
    assert_eq!(status, 204);
    server.terminate();
    assert_eq!(server.wait().await.code, Some(0));
    let audit = Doorstep::new(&["audit", "--json", "--database", &database.url]).run().await;
    let report = object(&audit);
    assert_eq!((&report["findings"], &report["users"]), (&json!([]), &4.into()), "{report}");
}

#[tokio::test]
async fn a_database_of_any_earlier_version_comes_up() {
    for version in 1..newest().await {
        for (store, database) in Database::of_each_store().await {
            comes_up(store, &database, version).await;
        }
    }
}
