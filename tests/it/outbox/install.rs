//! Installing, upgrading, looking and removing; and what the roles cannot do.

use doorstep_tests::postgres::Postgres;
use doorstep_tests::server::{Doorstep, Finished};
use sqlx::{AssertSqlSafe, Executor as _};

use super::{Shop, publish};
use crate::backends::BARE;

async fn outbox(arguments: &[&str]) -> Finished {
    Doorstep::new(&[&["outbox"], arguments].concat()).run().await
}

#[tokio::test]
async fn what_is_printed_can_be_run() {
    let url = Postgres::shared().await.database().await;
    for arguments in [&["install", "--print"][..], &["install", "--print", "--no-notify"]] {
        let printed = outbox(arguments).await;
        assert_eq!(printed.code, Some(0), "{}", printed.stderr);
        let mut owner = <sqlx::PgConnection as sqlx::Connection>::connect(&url).await.unwrap();
        owner.execute(AssertSqlSafe(printed.stdout)).await.unwrap();
    }
    let status = outbox(&["status", "--url", &url]).await;
    assert!(status.stdout.contains("notify     no"), "{status:?}");
}

#[tokio::test]
async fn an_older_installation_is_upgraded_and_a_newer_one_refused() {
    let shop = Shop::open().await;
    let again = outbox(&["install", "--url", &shop.url]).await;
    assert_eq!(again.stdout, "the outbox was installed already", "{}", again.stderr);
    let call = Doorstep::new(&["--listen", "127.0.0.1:0"])
        .file("doorstep.toml", &format!("{BARE}{}", shop.section()));

    shop.change("UPDATE doorstep.installation SET version = 0").await;
    let refused = call.run().await;
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("doorstep outbox install"), "{}", refused.stderr);
    let upgraded = outbox(&["install", "--url", &shop.url]).await;
    assert_eq!(upgraded.stdout, "upgraded the outbox from version 0", "{}", upgraded.stderr);

    shop.change("UPDATE doorstep.installation SET version = 99").await;
    for finished in [outbox(&["install", "--url", &shop.url]).await, call.run().await] {
        assert_eq!(finished.code, Some(1), "{}", finished.stderr);
        assert!(finished.stderr.contains("newer version"), "{}", finished.stderr);
    }
}

#[tokio::test]
async fn status_counts_and_removing_asks_before_it_loses_something() {
    let url = Postgres::shared().await.database().await;
    for command in ["status", "uninstall"] {
        let absent = outbox(&[command, "--url", &url]).await;
        assert_eq!(absent.code, Some(1));
        assert!(absent.stderr.contains("there is no outbox"), "{}", absent.stderr);
    }
    let shop = Shop::open().await;
    let mut backend = shop.backend().await;
    publish(&mut backend, "ada", 1).await;
    publish(&mut backend, "ada", 2).await;
    // The role of the node may look, too.
    let status = outbox(&["status", "--url", &shop.node_url]).await;
    for line in ["waiting    2", "accepted   0", "rejected   0", "consumed   no", "version    1"] {
        assert!(status.stdout.contains(line), "{status:?}");
    }
    let refused = outbox(&["uninstall", "--url", &shop.url]).await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("2 notifications"), "{}", refused.stderr);
    let removed = outbox(&["uninstall", "--url", &shop.url, "--force"]).await;
    assert_eq!(removed.code, Some(0), "{}", removed.stderr);
    assert_eq!(
        shop.number("SELECT count(*) FROM pg_namespace WHERE nspname = 'doorstep'").await,
        0
    );

    shop.change("CREATE SCHEMA doorstep").await;
    let foreign = outbox(&["install", "--url", &shop.url]).await;
    assert_eq!(foreign.code, Some(1));
    assert!(foreign.stderr.contains("did not make"), "{}", foreign.stderr);
}

#[tokio::test]
async fn the_roles_can_do_nothing_else() {
    let shop = Shop::open().await;
    let mut backend = shop.backend().await;
    for statement in [
        "SELECT * FROM doorstep.outbox",
        "INSERT INTO doorstep.outbox (user_id) VALUES ('ada')",
        "DELETE FROM doorstep.accepted",
        "SELECT * FROM doorstep.rejected",
        "UPDATE doorstep.consumer SET fence = 0",
    ] {
        let refused = backend.execute(statement).await.unwrap_err().to_string();
        assert!(refused.contains("permission denied"), "{statement}: {refused}");
    }
    let mut node = <sqlx::PgConnection as sqlx::Connection>::connect(&shop.node_url).await.unwrap();
    for statement in [
        "SELECT doorstep.publish('ada', 'k', '1')",
        "INSERT INTO doorstep.outbox (user_id) VALUES ('ada')",
        "SELECT * FROM customers",
        "UPDATE doorstep.installation SET version = 2",
    ] {
        let refused = node.execute(statement).await.unwrap_err().to_string();
        assert!(refused.contains("permission denied"), "{statement}: {refused}");
    }
    // Each table has a key, so that it can be replicated logically.
    let without_key = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = 'doorstep' AND c.relkind = 'r' AND NOT EXISTS \
         (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)";
    assert_eq!(shop.number(without_key).await, 0);
}

#[tokio::test]
async fn a_node_without_an_outbox_says_what_to_do_and_no_password() {
    let url = Postgres::shared().await.database().await;
    let url = url.replacen("postgres@", "postgres:s3cret@", 1);
    let section = format!("{BARE}\n[outbox]\nurl = {url:?}\n");
    let call = Doorstep::new(&["--listen", "127.0.0.1:0"]).file("doorstep.toml", &section);
    let finished = call.run().await;
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    assert!(finished.stderr.contains("there is no outbox in this database"), "{}", finished.stderr);
    let config = Doorstep::new(&["config"]).file("doorstep.toml", &section).run().await;
    assert!(config.stdout.contains("postgres:***@"), "{}", config.stdout);
    assert!(!format!("{finished:?}{config:?}").contains("s3cret"));
}
