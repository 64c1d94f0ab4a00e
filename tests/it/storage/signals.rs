//! Repeated signals during a stop, as process managers and people send them.

use std::time::Duration;

use doorstep_tests::server::{Doorstep, SqliteFile};
use sqlx::{Connection, Executor, SqliteConnection};

use crate::backends::Door;

/// A node with waiting notifications, whose handover is blocked: another connection locks the database.
async fn held_up() -> (Door, SqliteConnection, SqliteFile) {
    let file = SqliteFile::new();
    let keeps =
        "[trading]\nenabled = false\n[server]\nstop_within = \"50s\"\n[delivery]\nttl = \"1h\"";
    let door = Door::of(Doorstep::serve(&file.url()), keeps).await;
    door.wait_for("ada", 5).await;
    let mut somebody = SqliteConnection::connect(&file.url()).await.unwrap();
    somebody.execute("BEGIN IMMEDIATE").await.unwrap();
    (door, somebody, file)
}

#[tokio::test]
async fn repeated_signals_do_not_cut_the_handover() {
    let (mut door, mut somebody, _file) = held_up().await;
    door.server.interrupt();
    door.server.terminate();
    door.server.logged("the same request once more", 1).await;
    door.server.logged("handing over what waits", 1).await;
    // Long enough for the next signal to count as another request.
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    door.server.terminate();
    door.server.logged("SIGTERM again: still stopping", 1).await;
    somebody.execute("ROLLBACK").await.unwrap();
    let finished = door.server.wait().await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(finished.stderr.contains("handed_over=5"), "{}", finished.stderr);
}

#[tokio::test]
async fn sigquit_ends_at_once() {
    let (mut door, _somebody, _file) = held_up().await;
    door.server.terminate();
    door.server.logged("SIGQUIT ends at once", 1).await;
    door.server.logged("handing over what waits", 1).await;
    door.server.quit();
    let finished = door.server.wait().await;
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    assert!(finished.stderr.contains("SIGQUIT: ended at once"), "{}", finished.stderr);
    assert!(!finished.stderr.contains("handed_over="), "{}", finished.stderr);
}
