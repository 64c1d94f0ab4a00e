//! The backend dies after its commit and before it has published. Which policy the notification would have had makes no
//! difference: nobody has heard of it.

use std::process::Stdio;

use doorstep_tests::client::User;
use doorstep_tests::postgres::Postgres;
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

use super::{ACKS, door, kinds, news};
use crate::backends::Door;

/// A backend: it commits a user, and publishes when it gets a line.
const BACKEND: &str = r#"
import json, os, sqlite3, sys, urllib.request
with sqlite3.connect("shop.db") as shop:
    shop.execute("CREATE TABLE IF NOT EXISTS customers (name TEXT)")
    shop.execute("INSERT INTO customers VALUES ('ada')")
print("committed", flush=True)
sys.stdin.readline()
headers = {"authorization": "Bearer " + os.environ["KEY"], "content-type": "application/json"}
url = os.environ["URL"] + "/v1/notifications"
urllib.request.urlopen(urllib.request.Request(url, os.environ["BODY"].encode(), headers)).read()
"#;

/// Runs it, and kills it after the commit, or not.
async fn commit(door: &Door, body: &Value, kill: bool) {
    let mut backend = Command::new("python3")
        .args(["-c", BACKEND])
        .current_dir(door.call.dir())
        .env("KEY", &door.backend.key)
        .env("URL", door.server.url())
        .env("BODY", body.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("python3, which ./tests/run.sh installs");
    let mut lines = BufReader::new(backend.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "committed");
    if kill {
        backend.kill().await.unwrap();
    } else {
        backend.stdin.take().unwrap().write_all(b"\n").await.unwrap();
        assert!(backend.wait().await.unwrap().success());
    }
}

#[tokio::test]
async fn a_backend_that_dies_between_its_commit_and_its_call_loses_the_popup() {
    let file = doorstep_tests::server::SqliteFile::new();
    let door = door(&file.url()).await;
    for kind in ["news.deferred", "news.kept"] {
        commit(&door, &news("ada", kind), true).await;
        // The second backend lives on.
        commit(&door, &news("bob", kind), false).await;
    }
    for (user, expected) in [("ada", 0), ("bob", 2)] {
        let there = door.backend.get(&format!("/v1/users/{user}")).await.1;
        let kept = there["waiting"].as_u64().unwrap() + there["unread"].as_u64().unwrap();
        assert_eq!(kept, expected, "{there}");
    }
}

/// A transaction that registers a user waits at its very end for whoever has this lock.
const HOLD: &str = "
    CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER hold AFTER INSERT ON users DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION hold();
    SELECT pg_advisory_lock(7);
";

/// On the bus the backend and the node are one process. It is killed when its COMMIT is under way: the user is there,
/// and the event was never raised.
async fn events_lost(policy: &str) {
    let url = Postgres::shared().await.database().await;
    let rule = format!("[delivery.kinds.welcome]\npolicy = {policy:?}");
    let call = doorstep_tests::server::Doorstep::serve(&url).file("doorstep.toml", &rule);
    let server = call.start().await;
    let mut owner = PgConnection::connect(&url).await.unwrap();
    owner.execute(HOLD).await.unwrap();
    let address = server.url().to_owned();
    let registering =
        tokio::spawn(async move { User::try_register(&address, "ada").await.is_ok() });
    let number = async |owner: &mut PgConnection, sql: &'static str| -> i64 {
        owner.fetch_one(sql).await.unwrap().get(0)
    };
    let waits = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database \
         WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()";
    while number(&mut owner, waits).await == 0 {}
    server.kill().await;
    assert!(!registering.await.unwrap());
    owner.execute("SELECT pg_advisory_unlock(7)").await.unwrap();
    while number(&mut owner, "SELECT count(*) FROM users").await == 0 {}
    owner.execute("DROP TRIGGER hold ON users").await.unwrap();

    let server = call.start().await;
    let body = json!({"username": "ada", "password": doorstep_tests::client::PASSWORD});
    let session = reqwest::Client::new().post(format!("{}/v1/sessions", server.url())).json(&body);
    let session: Value = session.send().await.unwrap().json().await.unwrap();
    let (id, token) = (&session["user"]["id"], &session["token"]);
    let ada = User::with_token(server.url(), id.as_str().unwrap(), token.as_str().unwrap());
    // The facts are in the database, and the start grants what they earn.
    ada.has("1000.00").await;
    let mut socket = ada.connect(ACKS).await;
    assert_eq!(kinds(&mut socket, 1).await, ["reward.granted"], "and never the welcome");
}

#[tokio::test]
async fn an_event_whose_process_dies_after_the_commit_is_never_raised_for_deferred() {
    events_lost("deferred").await;
}

#[tokio::test]
async fn an_event_whose_process_dies_after_the_commit_is_never_raised_for_the_inbox() {
    events_lost("inbox").await;
}
