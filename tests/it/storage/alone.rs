//! Only one process serves from a SQLite file: the users of a second one would not reach those of the first.

use std::os::unix::fs::symlink;

use doorstep_tests::server::{Doorstep, Finished};

async fn refused(database: &str, holder: u32) {
    let Finished { code, stdout, stderr } = Doorstep::serve(database).run().await;
    assert_eq!(code, Some(1), "{stderr}");
    let said = format!("in use by the process {holder}:");
    assert!(stdout.is_empty() && stderr.contains(&said), "{stderr}");
}

#[tokio::test]
async fn a_second_process_on_one_file_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("doorstep.db");
    let url = format!("sqlite://{}", file.display());
    let first = Doorstep::serve(&url).start().await;
    let pid = first.pid().unwrap();
    refused(&url, pid).await;
    // Under another name of the same file too.
    let link = folder.path().join("link.db");
    symlink(&file, &link).unwrap();
    refused(&format!("sqlite:{}?cache=private", link.display()), pid).await;

    // Read-only commands work at the same time.
    let audit = Doorstep::new(&["audit", "--database", &url]);
    assert_eq!(audit.run().await.code, Some(0));

    // A crash releases the file, and so does a stop.
    first.kill().await;
    let second = Doorstep::serve(&url).start().await;
    refused(&url, second.pid().unwrap()).await;
    second.terminate();
    assert_eq!(second.wait().await.code, Some(0));
    Doorstep::serve(&url).start().await;
}

#[tokio::test]
async fn databases_in_memory_are_not_exclusive() {
    let _first = Doorstep::serve("sqlite::memory:").start().await;
    Doorstep::serve("sqlite::memory:").start().await;
}
