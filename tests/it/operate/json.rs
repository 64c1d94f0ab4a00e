//! `--json`: standard output is for programs, with the fields that docs/operate.md lists, and the exit codes are the same.

use std::collections::BTreeSet;

use doorstep_tests::client::User;
use doorstep_tests::server::{Doorstep, Finished, SqliteFile};
use serde_json::Value;

use super::Database;

/// The one object on standard output.
pub(super) fn object(finished: &Finished) -> Value {
    let lines: Vec<_> = finished.stdout.lines().collect();
    let [line] = lines[..] else { panic!("one line: {finished:?}") };
    serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {finished:?}"))
}

/// Checks that the names of the fields are those of this row of the page, in groups as there: first those of the object,
/// then those of the objects in it.
fn check_fields(row: &str, groups: &[&Value]) {
    let page = include_str!("../../../docs/operate.md");
    let start = format!("| `{row}`");
    let line = page.lines().find(|line| line.starts_with(&start)).unwrap();
    let documented: BTreeSet<_> =
        line.split('|').nth(2).unwrap().split('`').skip(1).step_by(2).collect();
    let mut printed = BTreeSet::new();
    for group in groups {
        printed.extend(group.as_object().unwrap().keys().map(String::as_str));
    }
    let missing: Vec<_> = printed.difference(&documented).collect();
    assert!(missing.is_empty(), "not on the page: {missing:?}");
    // The page also names values, such as those of `origin`.
    for name in &documented {
        let value = ["default", "file", "environment", "flag", "notification"].contains(name);
        assert!(value || printed.contains(name), "not printed: {name}");
    }
}

#[tokio::test]
async fn an_audit_says_what_it_found() {
    let database = Database::sqlite();
    let server = Doorstep::serve(&database.url).start().await;
    let ada = User::register(server.url(), "ada").await;
    ada.has("1000.00").await;
    server.terminate();
    assert_eq!(server.wait().await.code, Some(0));
    let audit = Doorstep::new(&["audit", "--json", "--database", &database.url]);
    let right = audit.run().await;
    let report = object(&right);
    assert_eq!((right.code, &report["ok"], &report["users"]), (Some(0), &true.into(), &1.into()));
    check_fields("audit", &[&report]);

    database.run("UPDATE users SET balance = 7").await;
    let wrong = audit.run().await;
    let report = object(&wrong);
    assert_eq!((wrong.code, &report["ok"]), (Some(1), &false.into()));
    assert_eq!(report["findings"].as_array().map(Vec::len), Some(2), "{report}");
    assert!(wrong.stderr.contains("the books are wrong: 2 findings"), "{wrong:?}");

    let missing = Doorstep::new(&["audit", "--json"]).run().await;
    assert_eq!((missing.code, missing.stdout.as_str()), (Some(1), ""), "{missing:?}");
}

#[tokio::test]
async fn the_demo_has_an_object_for_each_policy() {
    let args = ["demo", "--runs", "2", "--connect-after", "600ms", "--json"];
    let played = Doorstep::new(&args).run().await;
    assert_eq!(played.code, Some(0), "{played:?}");
    let report = object(&played);
    let policies = report["policies"].as_array().unwrap();
    check_fields("demo", &[&report, &policies[0]]);
    let lost: Vec<_> = policies.iter().map(|policy| policy["popups_lost"].as_u64()).collect();
    assert_eq!(lost, [2, 0, 0, 0, 0].map(Some));
    assert_eq!(policies[0]["wait_median_ms"], Value::Null);
    assert!(policies[2]["wait_max_ms"].as_f64() > Some(0.0), "{report}");
    assert_eq!(policies[4]["balances"], serde_json::json!(["1000.00", "1000.00"]));
}

#[tokio::test]
async fn the_configuration_is_typed_and_says_where_each_setting_came_from() {
    let call = Doorstep::new(&["config", "--json", "--listen", "127.0.0.1:7"])
        .file("doorstep.toml", "[delivery]\nmax_per_user = 7\n[webhook]\nsecret = \"whsec_AAAA\"\n")
        .env("DOORSTEP_DELIVERY__TTL", "5s");
    let shown = call.run().await;
    assert_eq!(shown.code, Some(0), "{shown:?}");
    let report = object(&shown);
    let settings = report["settings"].as_array().unwrap();
    check_fields("config", &[&report, &settings[0]]);
    let of = |key: &str| {
        let found = settings.iter().find(|setting| setting["key"] == key).unwrap();
        [&found["value"], &found["origin"], &found["from"]].map(Clone::clone)
    };
    let text = |text: &str| Value::from(text);
    assert_eq!(of("delivery.max_per_user"), [7.into(), text("file"), text("doorstep.toml")]);
    assert_eq!(
        of("delivery.ttl"),
        [text("5s"), text("environment"), text("DOORSTEP_DELIVERY__TTL")]
    );
    assert_eq!(of("listen"), [text("127.0.0.1:7"), text("flag"), text("--listen")]);
    assert_eq!(of("inbox.enabled"), [true.into(), text("default"), Value::Null]);
    assert_eq!(of("webhook.secret")[0], text("***"));
}

#[tokio::test]
async fn the_faults_of_a_configuration_are_listed() {
    for args in [&["config", "--json"][..], &["config", "--json", "--check"]] {
        let wrong = "[delivery]\nttl = 60\npolicy = \"x\"\n";
        let refused = Doorstep::new(args).file("doorstep.toml", wrong).run().await;
        let report = object(&refused);
        assert_eq!((refused.code, &report["ok"]), (Some(2), &false.into()), "{refused:?}");
        assert_eq!(report["faults"].as_array().map(Vec::len), Some(2), "{report}");
        check_fields("config --check", &[&report]);
    }
    let no_toml = Doorstep::new(&["config", "--json"]).file("doorstep.toml", "x").run().await;
    assert_eq!(no_toml.code, Some(2));
    assert_eq!(object(&no_toml)["faults"].as_array().map(Vec::len), Some(1));
    let right = Doorstep::new(&["config", "--json", "--check"]).run().await;
    assert_eq!((right.code, &object(&right)["ok"]), (Some(0), &true.into()));
}

#[tokio::test]
async fn what_is_heard_is_a_frame_per_line() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let ada = User::register(server.url(), "ada").await;
    let url = server.url().replacen("http", "ws", 1);
    let call =
        Doorstep::new(&["listen", "--json", "--url", &url]).env("DOORSTEP_TOKEN", &ada.token);
    let mut listener = call.spawn().await;
    listener.printed("reward.granted", 1).await;
    listener.printed("welcome", 2).await;
    listener.terminate();
    let heard = listener.wait().await;
    assert_eq!(heard.code, Some(0), "{heard:?}");
    let frames: Vec<Value> =
        heard.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: BTreeSet<_> = frames.iter().filter_map(|frame| frame["kind"].as_str()).collect();
    assert_eq!((frames.len(), kinds), (2, BTreeSet::from(["reward.granted", "welcome"])));
    for frame in &frames {
        check_fields("listen", &[frame]);
    }
    let refused = Doorstep::new(&["listen", "--json", "--token", "x", "--url", &url]).run().await;
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""), "{refused:?}");
}

#[tokio::test]
async fn a_simulation_counts_for_programs() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let args = ["simulate", "--users", "3", "--minutes", "0.05", "--json"];
    let url = database.url();
    let args = [&args[..], &["--url", server.url(), "--database", &url]].concat();
    let played = Doorstep::new(&args).run().await;
    assert_eq!(played.code, Some(0), "{played:?}");
    let report = object(&played);
    check_fields("simulate", &[&report, &report["event_to_popup_ms"]]);
    assert_eq!((&report["ok"], &report["users"]), (&true.into(), &3.into()), "{report}");
    assert_eq!((&report["popups_lost"], &report["findings"]), (&0.into(), &Value::Array(vec![])));
    assert!(report["outcomes"]["delivered"].as_u64() >= Some(6), "{report}");
}

#[tokio::test]
async fn a_story_is_what_the_node_tells() {
    let door = crate::backends::Door::open().await;
    let mut plain = door.user("ada").connect("doorstep.plain.v1").await;
    let id = door.backend.send_to("ada", serde_json::json!({})).await;
    plain.notification().await;
    let call = Doorstep::new(&["story", "--json", &id, "--url", door.server.url()])
        .env("DOORSTEP_KEY", &door.backend.key);
    let told = call.run().await;
    let story = object(&told);
    assert_eq!((told.code, &story["id"]), (Some(0), &id.into()), "{told:?}");
    // The second step is a push, to a connection.
    check_fields("story", &[&story, &story["steps"][1]]);
}
