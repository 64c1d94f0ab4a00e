//! A full disk, a file that may not grow, a former primary: writes fail, the node reports it, and once there is
//! room everything works again.

use std::process::Command;

use doorstep_adapters::sql::connect;
use doorstep_domain::ports::{Handover, Readiness};
use doorstep_tests::client::PASSWORD;
use doorstep_tests::postgres::Postgres;
use doorstep_tests::server::{Doorstep, Server, SqliteFile};
use doorstep_tests::small_disk::SmallDisk;
use sqlx::{AnyConnection, AssertSqlSafe, Connection};

use super::{Door, door, readiness, until_ready};
use crate::stores::notifications;

/// Checks it twice: after a recovery the disk can fill up again.
async fn check_it_recovers(door: &Door, fill: impl Fn(), free: impl Fn()) {
    for _ in 0..2 {
        until_ready(&door.server).await;
        assert_eq!(door.keeps().await, "waiting ");
        fill();
        // Until the free pages of the file are used up.
        let filled = async { while door.keeps().await != "rejected inbox_away" {} };
        tokio::time::timeout(std::time::Duration::from_mins(1), filled).await.expect("it is full");
        assert_eq!(readiness(&door.server).await, 503, "writes fail");
        assert_eq!(door.keeps().await, "rejected inbox_away");
        free();
        until_ready(&door.server).await;
        for _ in 0..3 {
            assert_eq!(door.keeps().await, "waiting ");
        }
    }
}

#[tokio::test]
async fn a_disk_that_was_full_is_written_to_again() {
    let Some(disk) = SmallDisk::mount(4 * 1024) else {
        eprintln!("not allowed to mount: the test with a limited file size stands for this one");
        return;
    };
    let door = door(&format!("sqlite://{}/doorstep.db", disk.path().display())).await;
    check_it_recovers(&door, || disk.fill(), || disk.free()).await;

    // A stop that loses notifications reports how many.
    door.wait_for("ada", 7).await;
    disk.fill();
    while door.keeps().await != "rejected inbox_away" {}
    // A few could fit into the free pages of the file; this many cannot.
    for n in 0..20 {
        door.wait_for(&format!("user-{n}"), 100).await;
    }
    door.server.terminate();
    let finished = door.server.wait().await;
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    let said = "doorstep: 2007 notifications were lost: the store did not take them";
    assert!(finished.stderr.contains(said), "{}", finished.stderr);
}

/// Registers, or signs in, and returns the status.
async fn enter(server: &Server, path: &str, username: &str) -> u16 {
    let body = serde_json::json!({"username": username, "password": PASSWORD});
    let request = reqwest::Client::new().post(format!("{}{path}", server.url())).json(&body);
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn after_a_full_disk_users_register_and_sign_in_again() {
    let Some(disk) = SmallDisk::mount(4 * 1024) else {
        eprintln!("not allowed to mount: not tried with users");
        return;
    };
    let database = format!("sqlite://{}/doorstep.db", disk.path().display());
    let server = Doorstep::serve(&database)
        .env("DOORSTEP_DEMO__ENABLED", "false")
        .env("DOORSTEP_LIMITS__SIGN_INS_PER_SECOND", "0")
        .start()
        .await;
    assert_eq!(enter(&server, "/v1/users", "ada").await, 201);
    disk.fill();
    // Until the free pages of the file are used up.
    for path in ["/v1/users", "/v1/sessions"] {
        let (mut status, mut n) = (201, 0);
        while status == 201 {
            let name = if path == "/v1/users" { format!("user-{n}") } else { "ada".to_owned() };
            (status, n) = (enter(&server, path, &name).await, n + 1);
        }
        assert_eq!(status, 503, "{path}");
    }
    assert_eq!(readiness(&server).await, 503);
    disk.free();
    until_ready(&server).await;
    assert_eq!(enter(&server, "/v1/sessions", "ada").await, 201);
    assert_eq!(enter(&server, "/v1/users", "bob").await, 201);
}

/// The limit on a file's size raises a signal that would end the process; SQLite must get an I/O error instead.
#[tokio::test]
async fn a_file_that_may_not_grow_is_written_to_again() {
    let file = SqliteFile::new();
    let door = door(&file.url()).await;
    let pid = door.server.pid().unwrap().to_string();
    let limit = |to: &str| {
        let fsize = format!("--fsize={to}:");
        let done = Command::new("prlimit").args(["--pid", &pid, &fsize]).status().unwrap();
        assert!(done.success());
    };
    check_it_recovers(&door, || limit("65536"), || limit("unlimited")).await;
    door.server.terminate();
    assert_eq!(door.server.wait().await.code, Some(0));
}

/// As after a failover: the server refuses writes, and keeps refusing them on existing connections.
#[tokio::test]
async fn connections_to_a_server_that_only_reads_are_given_up() {
    let url = Postgres::shared().await.database().await;
    let (_, name) = url.rsplit_once('/').unwrap();
    let store = connect(&url).await.unwrap();
    let mut admin = AnyConnection::connect(&url).await.unwrap();
    let mut run = async |sql: String| {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
    };
    store.leave(&notifications(1)).await.unwrap();
    store.check().await.unwrap();

    run(format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid()"
        .to_owned())
    .await;
    store.leave(&notifications(1)).await.unwrap_err();
    store.check().await.unwrap_err();

    run(format!("ALTER DATABASE {name} RESET default_transaction_read_only")).await;
    store.leave(&notifications(1)).await.unwrap();
    store.check().await.unwrap();
    assert_eq!(store.take(9).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_server_whose_disk_is_full_is_noticed() {
    let Some(disk) = SmallDisk::mount(3 * 1024) else {
        eprintln!("not allowed to mount: not tried with PostgreSQL");
        return;
    };
    let url = Postgres::shared().await.database().await;
    let (_, name) = url.rsplit_once('/').unwrap();
    let store = connect(&url).await.unwrap();
    let mut admin = AnyConnection::connect(&url).await.unwrap();
    let place = format!("{}/tables", disk.path().display());
    // It must belong to PostgreSQL's user, so the server creates it.
    let make = format!("COPY (SELECT 1) TO PROGRAM 'mkdir -m 700 {place}'");
    for sql in [
        make,
        format!("CREATE TABLESPACE small_{name} LOCATION '{place}'"),
        format!("ALTER TABLE handover SET TABLESPACE small_{name}"),
        format!("ALTER TABLE readiness SET TABLESPACE small_{name}"),
    ] {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
    }
    store.check().await.unwrap();
    disk.fill();
    while store.leave(&notifications(500)).await.is_ok() {}
    store.check().await.unwrap_err();
    disk.free();
    crate::node::eventually("it is ready", async || store.check().await.is_ok()).await;
    store.leave(&notifications(500)).await.unwrap();
    store.disconnect().await;
    for table in ["handover", "readiness"] {
        let sql = format!("DROP TABLE {table}");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
    }
    let sql = format!("DROP TABLESPACE small_{name}");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
}
