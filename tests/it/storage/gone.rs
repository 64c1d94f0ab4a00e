//! A database file that is deleted while a node has it open: SQLite would keep writing to the deleted file.

use std::fs;

use doorstep_tests::scrape::Scrape;

use super::{door, readiness, until_ready};

#[tokio::test]
async fn a_file_that_was_deleted_takes_no_more_writes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("doorstep.db");
    let door = door(&format!("sqlite://{}", file.display())).await;
    door.wait_for("ada", 3).await;
    assert_eq!(door.keeps().await, "waiting ");
    until_ready(&door.server).await;

    // The file is moved away and back: nothing is lost.
    let aside = folder.path().join("aside.db");
    fs::rename(&file, &aside).unwrap();
    assert_eq!(readiness(&door.server).await, 503);
    assert_eq!(door.keeps().await, "rejected inbox_away");
    let figures = Scrape::of(door.server.url()).await;
    let refused = figures.sum("doorstep_notifications_refused_total", &[("reason", "inbox_away")]);
    assert!((0.5..1.5).contains(&refused), "{refused} refused");
    fs::rename(&aside, &file).unwrap();
    assert_eq!(door.keeps().await, "waiting ");
    until_ready(&door.server).await;

    // The file is deleted, and another one replaces it.
    fs::remove_file(&file).unwrap();
    assert_eq!(readiness(&door.server).await, 503);
    assert_eq!(door.keeps().await, "rejected inbox_away");
    assert!(!file.exists(), "the node creates no new file");
    fs::write(&file, "").unwrap();
    assert_eq!(readiness(&door.server).await, 503);

    door.server.terminate();
    let finished = door.server.wait().await;
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    assert!(finished.stderr.contains("3 notifications were lost"), "{}", finished.stderr);
    assert!(finished.stderr.contains("was deleted or replaced"), "{}", finished.stderr);
}
