//! Opening a store: repeatedly, and with every kind of failure.

use doorstep_domain::RewardRules;
use std::fs;

use doorstep_adapters::sql::ConnectError;
use doorstep_domain::Timestamp;
use doorstep_domain::ports::{Accounts, Audit, Handover};
use sqlx::{AnyConnection, Connection};

use super::{Fresh, connect, entry, notifications, user_with_session};
use doorstep_tests::postgres::Postgres;

/// The error of opening a store. Its text must contain no secret.
async fn refusal(url: &str) -> ConnectError {
    let error = connect(url).await.expect_err("refused");
    let text = format!("{error} {error:?}");
    assert!(!text.contains("s3cret"), "{text}");
    assert!(!error.to_string().contains('\n'), "{text}");
    error
}

#[tokio::test]
async fn a_url_that_is_none_is_refused() {
    for url in ["", "doorstep.db", "mysql://me:s3cret@host/db", "s3cret", "me:s3cret@host/db"] {
        assert!(matches!(refusal(url).await, ConnectError::UnknownScheme), "{url:?}");
    }
    for url in [
        "sqlite:",
        "sqlite://",
        "sqlite://x.db?mode=odd",
        "postgres://me:s3cret#@host/db",
        "postgres://me:s3cret/@host/db",
        "postgres://me:p@w/s3cret@host/db",
    ] {
        let error = refusal(url).await;
        assert!(matches!(error, ConnectError::BadUrl(_)), "{url:?}: {error}");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    for file in [path.to_owned(), path.join("no/such/folder.db")] {
        let error = refusal(&format!("sqlite://{}", file.display())).await;
        assert!(
            matches!(&error, ConnectError::NotWritable { path, .. } if *path == file),
            "{error}"
        );
    }
    let file = path.join("readonly.db");
    fs::write(&file, "").unwrap();
    let error = refusal(&format!("sqlite://{}?mode=ro", file.display())).await;
    assert!(matches!(&error, ConnectError::NotWritable { .. }), "{error}");
}

#[tokio::test]
async fn a_file_that_is_something_else_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("letter.txt");
    let letter = "Dear reader, ".repeat(1_000);
    fs::write(&file, &letter).unwrap();
    let error = refusal(&format!("sqlite://{}", file.display())).await;
    assert!(matches!(&error, ConnectError::NotADatabase(path) if *path == file), "{error}");
    assert_eq!(fs::read_to_string(&file).unwrap(), letter);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_named() {
    // Nothing listens on port 1.
    let error = refusal("postgres://me:s3cret@127.0.0.1:1/db").await;
    assert!(matches!(&error, ConnectError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}

#[tokio::test]
async fn a_database_or_user_that_is_not_there_is_named() {
    let url = Postgres::shared().await.database().await;
    let error = refusal(&format!("{url}_not")).await;
    assert!(matches!(&error, ConnectError::NoDatabase { .. }), "{error}");

    let (_, address) = url.rsplit_once('@').unwrap();
    let error = refusal(&format!("postgres://nobody_here:s3cret@{address}")).await;
    assert!(matches!(&error, ConnectError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("nobody_here"), "{error}");
}

#[tokio::test]
async fn opening_again_finds_everything_and_changes_nothing() {
    for fresh in [Fresh::sqlite_file().await, Fresh::postgres().await] {
        let (ada, session) = user_with_session();
        fresh.store.register(&ada, &session).await.unwrap();
        let gift = entry(&ada.user.id);
        fresh.store.grant(&gift).await.unwrap();
        let left = notifications(3);
        fresh.store.leave(&left).await.unwrap();
        fresh.store.disconnect().await;

        let again = connect(&fresh.url).await.unwrap();
        assert_eq!(again.by_username(&ada.user.username).await.unwrap(), Some(ada.clone()));
        assert_eq!(again.entries(&ada.user.id, None, 9).await.unwrap(), [gift]);
        assert_eq!(again.balance(&ada.user.id).await.unwrap().unwrap().minor_units(), 100_000);
        assert_eq!(again.take(9).await.unwrap(), left);
        let report = again.audit(&RewardRules::default()).await.unwrap();
        assert_eq!((report.users, report.entries, report.findings), (1, 1, vec![]));
        assert_eq!(session.expires_at, Timestamp::MAX);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_may_open_a_new_database_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let file = format!("sqlite://{}/new.db", directory.path().display());
    for url in [file, Postgres::shared().await.database().await] {
        let opening: Vec<_> = (0..8)
            .map(|_| {
                let url = url.clone();
                tokio::spawn(async move { connect(&url).await })
            })
            .collect();
        for opened in opening {
            opened.await.unwrap().unwrap_or_else(|e| panic!("{e}"));
        }
    }
}

#[tokio::test]
async fn a_schema_that_is_newer_is_left_alone() {
    for fresh in [Fresh::sqlite_file().await, Fresh::postgres().await] {
        let mut connection = AnyConnection::connect(&fresh.raw_url()).await.unwrap();
        sqlx::query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             SELECT 99, 'from the future', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
        )
        .execute(&mut connection)
        .await
        .unwrap();
        let error = refusal(&fresh.url).await;
        assert!(matches!(error, ConnectError::Newer(99)), "{error}");
        sqlx::query("DELETE FROM _sqlx_migrations WHERE version = 99")
            .execute(&mut connection)
            .await
            .unwrap();
        connect(&fresh.url).await.unwrap();
    }
}
