//! A certificate that is renewed while the node serves.

use std::path::Path;

use doorstep_tests::server::{Doorstep, Server};
use doorstep_tests::tls::{TlsClient, fixture, section};
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

use super::read_until;
use crate::backends::BARE;

/// A node whose certificate and key are `cert.pem` and `key.pem` in this folder below its own.
async fn serve(call: &Doorstep, folder: &str) -> Server {
    let section = section(&format!("{folder}/cert.pem"), &format!("{folder}/key.pem"));
    std::fs::write(call.dir().join("doorstep.toml"), format!("{BARE}{section}")).unwrap();
    call.start().await
}

fn call() -> Doorstep {
    Doorstep::new(&["--listen", "127.0.0.1:0"])
}

/// Puts these files there, each in one step.
fn put(folder: &Path, certificate: Option<&str>, key: Option<&str>) {
    std::fs::create_dir_all(folder).unwrap();
    for (from, to) in [(certificate, "cert.pem"), (key, "key.pem")] {
        if let Some(from) = from {
            std::fs::copy(fixture(from), folder.join("draft")).unwrap();
            std::fs::rename(folder.join("draft"), folder.join(to)).unwrap();
        }
    }
}

/// Whether a new connection is shown this certificate.
async fn shows(server: &Server, name: &str) -> bool {
    let expected = CertificateDer::from_pem_file(fixture(name)).unwrap();
    TlsClient::new().certificate(server.address()).await == expected
}

#[tokio::test]
async fn sighup_replaces_the_certificate_for_new_connections_only() {
    let call = call();
    put(&call.dir().join("tls"), Some("server.pem"), Some("server.key"));
    let mut server = serve(&call, "tls").await;
    let mut before = TlsClient::new().connect(server.address()).await.unwrap();
    assert!(shows(&server, "server.pem").await);

    put(&call.dir().join("tls"), Some("other.pem"), Some("other.key"));
    server.hang_up();
    server.logged("reloaded the certificate", 1).await;
    assert!(shows(&server, "other.pem").await);
    let request = b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n";
    before.write_all(request).await.unwrap();
    read_until(&mut before, "HTTP/1.1 200").await;

    // A mistake in the configuration does not hold up a renewed certificate.
    std::fs::write(call.dir().join("doorstep.toml"), "[server").unwrap();
    put(&call.dir().join("tls"), Some("server.pem"), Some("server.key"));
    server.hang_up();
    server.logged("nothing was reloaded from the configuration", 1).await;
    assert!(shows(&server, "server.pem").await);
}

#[tokio::test]
async fn a_pair_that_does_not_fit_changes_nothing_until_it_is_complete() {
    let call = call();
    let tls = call.dir().join("tls");
    put(&tls, Some("server.pem"), Some("server.key"));
    let mut server = serve(&call, "tls").await;
    put(&tls, Some("other.pem"), None);
    server.hang_up();
    server.logged("is not the key of the certificate in tls/cert.pem", 1).await;
    server.logged("the certificate in use stays", 1).await;
    assert!(shows(&server, "server.pem").await);
    put(&tls, None, Some("other.key"));
    server.hang_up();
    server.logged("reloaded the certificate", 1).await;
    assert!(shows(&server, "other.pem").await);

    std::fs::remove_file(tls.join("key.pem")).unwrap();
    server.hang_up();
    server.logged("server.tls.key: tls/key.pem cannot be read", 1).await;
    assert!(shows(&server, "other.pem").await);
}

#[tokio::test]
async fn changed_files_are_noticed_and_a_bad_pair_is_told_once() {
    let call = call();
    let (first, second, third) = ("..first", "..second", "..third");
    put(&call.dir().join(first), Some("server.pem"), Some("server.key"));
    put(&call.dir().join(second), Some("other.pem"), Some("server.key"));
    put(&call.dir().join(third), Some("other.pem"), Some("other.key"));
    // As Kubernetes mounts a secret: a link to a link, and the inner one is replaced in one step.
    let point = |to: &str| {
        std::os::unix::fs::symlink(to, call.dir().join("draft")).unwrap();
        std::fs::rename(call.dir().join("draft"), call.dir().join("..data")).unwrap();
    };
    point(first);
    std::fs::create_dir(call.dir().join("tls")).unwrap();
    for name in ["cert.pem", "key.pem"] {
        let (to, at) = (format!("../..data/{name}"), call.dir().join("tls").join(name));
        std::os::unix::fs::symlink(to, at).unwrap();
    }
    let mut server = serve(&call, "tls").await;
    assert!(shows(&server, "server.pem").await);
    point(second);
    server.logged("the certificate in use stays", 1).await;
    assert!(shows(&server, "server.pem").await);
    point(third);
    server.logged("reloaded the certificate", 1).await;
    assert!(shows(&server, "other.pem").await);
    std::fs::remove_file(call.dir().join("..data")).unwrap();
    server.logged("the certificate in use stays", 2).await;
    point(first);
    server.logged("reloaded the certificate", 2).await;
    server.terminate();
    let stderr = server.wait().await.stderr;
    assert_eq!(stderr.matches("the certificate in use stays").count(), 2, "{stderr}");
}
