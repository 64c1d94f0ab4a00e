//! `doorstep migrate`: what a start would do to the schema, and doing it.

use std::path::Path;

use doorstep_tests::postgres;
use doorstep_tests::server::{Doorstep, Finished};
use serde_json::{Value, json};

use super::Database;
use super::json::object;

/// Runs `migrate` with these arguments. Returns the exit code and the object.
async fn migrate(database: &Database, args: &[&str]) -> (Option<i32>, Value) {
    let args = [&["migrate", "--json", "--database", &database.url], args].concat();
    let finished = Doorstep::new(&args).run().await;
    (finished.code, object(&finished))
}

/// Everything that is in the database, schema and rows, and for SQLite every byte.
fn everything(database: &Database) -> Vec<u8> {
    if let Some(file) = database.url.strip_prefix("sqlite://") {
        return std::fs::read(file).unwrap_or_default();
    }
    let mut dump = std::process::Command::new(postgres::client("pg_dump"));
    let dumped = dump.arg(&database.url).output().unwrap();
    assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
    // Newer versions of pg_dump write a key that differs each time.
    let text = String::from_utf8_lossy(&dumped.stdout);
    let lines = text.lines().filter(|line| !line.starts_with('\\'));
    lines.collect::<Vec<_>>().join("\n").into_bytes()
}

fn states(plan: &Value) -> Vec<&str> {
    let migrations = plan["migrations"].as_array().unwrap();
    migrations.iter().map(|one| one["state"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_plan_changes_nothing_and_names_what_would_run() {
    for (store, database) in Database::of_each_store().await {
        let fresh = everything(&database);
        let (code, plan) = migrate(&database, &["--plan"]).await;
        assert_eq!(
            (code, &plan["verdict"], &plan["schema"]),
            (Some(3), &json!("pending"), &Value::Null)
        );
        assert!(states(&plan).iter().all(|state| *state == "pending"), "{plan}");
        assert!(everything(&database) == fresh, "{store}: a plan has changed an empty database");
        if let Some(file) = database.url.strip_prefix("sqlite://") {
            assert!(!Path::new(file).exists(), "a plan has created the file");
        }

        database.load(store, 3).await;
        let before = everything(&database);
        let (code, plan) = migrate(&database, &["--plan"]).await;
        assert_eq!((code, &plan["schema"]), (Some(3), &json!(3)), "{plan}");
        let all = states(&plan);
        let (old, new) = all.split_at(3);
        assert!(old.iter().all(|state| *state == "applied"), "{store}: {plan}");
        assert!(new.iter().all(|state| *state == "pending"), "{store}: {plan}");
        let locks = |one: &Value| one["locks"] == "inbox" && one["state"] == "pending";
        assert!(plan["migrations"].as_array().unwrap().iter().any(locks), "{plan}");
        assert!(everything(&database) == before, "{store}: a plan has changed the database");

        let (code, ran) = migrate(&database, &[]).await;
        assert_eq!((code, &ran["verdict"]), (Some(0), &json!("migrated")), "{ran}");
        assert_eq!(states(&ran)[2..5], ["applied", "ran", "ran"], "{store}: {ran}");
        let (code, plan) = migrate(&database, &["--plan"]).await;
        assert_eq!((code, &plan["verdict"]), (Some(0), &json!("up_to_date")), "{plan}");
    }
}

#[tokio::test]
async fn a_database_that_a_start_would_refuse_is_told_apart() {
    for (store, database) in Database::of_each_store().await {
        migrate(&database, &[]).await;
        let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                     SELECT 99, 'from the future', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1";
        let broken = "UPDATE _sqlx_migrations SET success = FALSE WHERE version = 2";
        let changed = "UPDATE _sqlx_migrations SET checksum = (SELECT checksum FROM _sqlx_migrations \
                       WHERE version = 1), success = TRUE WHERE version = 2";
        let repaired = "DELETE FROM _sqlx_migrations WHERE version = 99";
        for (sql, code, verdict, state) in [
            (newer, 4, "newer", "unknown"),
            (repaired, 0, "up_to_date", "applied"),
            (broken, 1, "broken", "unfinished"),
            (changed, 1, "broken", "changed"),
        ] {
            database.run(sql).await;
            let (got, plan) = migrate(&database, &["--plan"]).await;
            assert_eq!((got, &plan["verdict"]), (Some(code), &json!(verdict)), "{store}: {plan}");
            assert!(states(&plan).contains(&state), "{store}: {plan}");
            // As a start does.
            let serve = Doorstep::serve(&database.url);
            if code != 0 {
                let Finished { code: refused, stderr, .. } = serve.run().await;
                assert_eq!(refused, Some(1), "{store}: {stderr}");
                let migrate = Doorstep::new(&["migrate", "--json", "--database", &database.url]);
                let Finished { code: refused, stdout, .. } = migrate.run().await;
                assert_eq!((refused, stdout.as_str()), (Some(1), ""), "{store}");
            }
        }
    }
}

#[tokio::test]
async fn a_plan_is_made_while_a_node_serves_and_for_people_too() {
    for (_, database) in Database::of_each_store().await {
        let _server = Doorstep::serve(&database.url).start().await;
        let plan = Doorstep::new(&["migrate", "--plan", "--database", &database.url]).run().await;
        assert_eq!((plan.code, plan.stderr.as_str()), (Some(0), ""), "{plan:?}");
        assert!(
            plan.stdout.contains("applied     builds the index inbox_read on inbox"),
            "{plan:?}"
        );
        assert!(!plan.stdout.contains("pending"), "{plan:?}");
    }
    let url = "postgres://nobody@127.0.0.1:1/none";
    let away = Doorstep::new(&["migrate", "--plan", "--json", "--database", url]).run().await;
    assert_eq!((away.code, away.stdout.as_str()), (Some(1), ""), "{away:?}");
}
