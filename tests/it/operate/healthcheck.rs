//! `doorstep healthcheck`: exit code 0 only when the node is ready.

use std::path::Path;

use doorstep_tests::server::{Doorstep, Finished, SqliteFile};
use doorstep_tests::tls::{fixture, section};

/// Checks the node that this configuration starts.
async fn check(args: &[&str], file: &str) -> Finished {
    Doorstep::new(&[&["healthcheck"], args].concat()).file("doorstep.toml", file).run().await
}

#[tokio::test]
async fn the_configuration_says_which_node_is_asked() {
    let database = SqliteFile::new();
    let (cert, key) = (fixture("server.pem"), fixture("server.key"));
    let tls = section(cert.to_str().unwrap(), key.to_str().unwrap());
    for file in [String::new(), tls] {
        let server = Doorstep::serve(&database.url()).file("doorstep.toml", &file).start().await;
        let listen = server.address().to_string();
        let Finished { code, stdout, stderr } = check(&["--listen", &listen], &file).await;
        assert_eq!((code, stdout.as_str()), (Some(0), "ready"), "{stderr}");
        server.kill().await;
        let gone = check(&["--listen", &listen], &file).await;
        assert_eq!(gone.code, Some(1), "{gone:?}");
        assert!(gone.stderr.contains("no answer"), "{gone:?}");
    }
}

#[tokio::test]
async fn a_unix_socket_is_asked_too() {
    let (database, folder) = (SqliteFile::new(), tempfile::tempdir().unwrap());
    let listen = format!("unix:{}", folder.path().join("door").display());
    let call = Doorstep::new(&["--listen", &listen]).env("DATABASE_URL", &database.url());
    let mut process = call.spawn().await;
    process.announced().await;
    let ready = check(&["--listen", &listen], "").await;
    assert_eq!(ready.code, Some(0), "{ready:?}");
}

#[tokio::test]
async fn a_node_that_is_not_ready_is_no_success() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    assert_eq!(check(&["--url", server.url()], "").await.code, Some(0));
    // Without its file, the store refuses writes.
    let url = database.url();
    let path = url.strip_prefix("sqlite://").unwrap().split('?').next().unwrap();
    std::fs::remove_file(Path::new(path)).unwrap();
    crate::node::eventually("the node is not ready", async || {
        check(&["--url", server.url()], "").await.code == Some(1)
    })
    .await;
    let refused = check(&["--url", server.url()], "").await;
    assert!(refused.stderr.contains("not ready: 503"), "{refused:?}");
}

#[tokio::test]
async fn what_cannot_be_asked_is_named() {
    for (args, code, part) in [
        (["--url", "127.0.0.1:3000"], 1, "is not a URL like"),
        (["--listen", "127.0.0.1:0"], 1, "name the node with --url"),
        (["--listen", "nowhere"], 2, "expected an address"),
    ] {
        let Finished { code: got, stderr, .. } = check(&args, "").await;
        assert_eq!(got, Some(code), "{args:?}: {stderr}");
        assert!(stderr.contains(part), "{args:?}: {stderr}");
    }
}
