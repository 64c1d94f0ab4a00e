//! Outgoing TLS connections (`https` has the incoming ones): to the webhook's receiver, to PostgreSQL, and from `listen` to its server. Each is
//! made only if the peer's certificate can be trusted.
//!
//! The peer is a relay that terminates TLS in front of a server without TLS. Its certificate, for `localhost` and
//! `127.0.0.1`, is issued by an authority that no machine trusts (`tls/ca.pem`).

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use doorstep_adapters::sql::{ConnectError, connect};
use doorstep_tests::client::User;
use doorstep_tests::postgres::Postgres;
use doorstep_tests::server::{Doorstep, SqliteFile};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::backends::{BARE, Door};

const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/it/tls/ca.pem");
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The bytes that a client sends before TLS begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    /// The `SSLRequest` of PostgreSQL's protocol: eight bytes, to which the server replies `S`.
    SslRequest,
}

/// Terminates TLS in front of this server. Returns the relay's port.
async fn relay(to: SocketAddr, before: Before) -> u16 {
    let file = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("it/tls").join(name);
    let certificate = CertificateDer::from_pem_file(file("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    let cryptography = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(cryptography)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not trust the certificate hangs up, which some tests expect.
            tokio::spawn(pass_on(stream, acceptor.clone(), to, before));
        }
    });
    port
}

async fn pass_on(
    mut outer: TcpStream,
    acceptor: TlsAcceptor,
    to: SocketAddr,
    before: Before,
) -> io::Result<()> {
    if before == Before::SslRequest {
        outer.read_exact(&mut [0; 8]).await?;
        outer.write_all(b"S").await?;
    }
    let mut outer = acceptor.accept(outer).await?;
    let mut inner = TcpStream::connect(to).await?;
    copy_bidirectional(&mut outer, &mut inner).await.map(drop)
}

/// A receiver behind TLS: its port, and a channel with one message per request.
async fn receiver() -> (u16, mpsc::UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = relay(listener.local_addr().unwrap(), Before::Nothing).await;
    let (sender, received) = mpsc::unbounded_channel();
    let hook = post(async move || {
        sender.send(()).unwrap();
        StatusCode::NO_CONTENT
    });
    tokio::spawn(async move {
        axum::serve(listener, Router::new().route("/hook", hook)).await.unwrap();
    });
    (port, received)
}

fn webhook(port: u16, more: &str) -> String {
    let url = format!("https://localhost:{port}/hook");
    format!("{BARE}[webhook]\nurl = {url:?}\nsecret = {SECRET:?}\n{more}")
}

fn now_or_never() -> serde_json::Value {
    json!({"user_id": "ada", "kind": "news", "payload": 1, "ttl": 0})
}

#[tokio::test]
async fn a_webhook_trusts_the_authority_that_it_is_given() {
    let (port, mut received) = receiver().await;
    let door = Door::with(&webhook(port, &format!("ca_file = {AUTHORITY:?}"))).await;
    door.backend.publish(&now_or_never()).await;
    let told = tokio::time::timeout(Duration::from_mins(1), received.recv()).await;
    told.expect("the receiver is told").unwrap();
}

#[tokio::test]
async fn a_webhook_trusts_nobody_whom_the_machine_does_not_trust() {
    let (port, mut received) = receiver().await;
    let mut door = Door::with(&webhook(port, "")).await;
    door.backend.publish(&now_or_never()).await;
    door.server.logged("the webhook did not accept a batch", 1).await;
    assert!(received.try_recv().is_err());
    door.server.terminate();
    let stopped = door.server.wait().await;
    assert!(stopped.stderr.contains("certificate"), "{}", stopped.stderr);
}

#[tokio::test]
async fn an_invalid_ca_file_exits_with_2() {
    let dir = tempfile::tempdir().unwrap();
    let letter = dir.path().join("letter.txt");
    std::fs::write(&letter, "Dear reader").unwrap();
    let letter = letter.to_str().unwrap();
    for (url, file, says) in [
        ("https://localhost/", "/nowhere/ca.pem", "cannot be read"),
        ("https://localhost/", letter, "BEGIN CERTIFICATE"),
        ("http://localhost/", AUTHORITY, "only for https:// URLs"),
    ] {
        let call = Doorstep::new(&["--listen", "127.0.0.1:0"])
            .file("doorstep.toml", BARE)
            .env("DOORSTEP_WEBHOOK__URL", url)
            .env("DOORSTEP_WEBHOOK__SECRET", SECRET)
            .env("DOORSTEP_WEBHOOK__CA_FILE", file);
        let finished = call.run().await;
        assert_eq!(finished.code, Some(2), "{}", finished.stderr);
        assert!(finished.stderr.contains("webhook.ca_file"), "{}", finished.stderr);
        assert!(finished.stderr.contains(says), "{}", finished.stderr);
    }
}

#[tokio::test]
async fn postgres_is_spoken_to_as_safely_as_the_url_asks_for() {
    let plain = Postgres::shared().await.database().await;
    let (scheme, rest) = plain.split_once("://").unwrap();
    let (authority, path) = rest.split_once('/').unwrap();
    let (user, place) = authority.rsplit_once('@').unwrap();
    let to = tokio::net::lookup_host(place).await.unwrap().next().unwrap();
    let port = relay(to, Before::SslRequest).await;
    let database = path.split_once('?').map_or(path, |(name, _)| name);
    let url = |query: &str| format!("{scheme}://{user}@127.0.0.1:{port}/{database}?{query}");

    let trusted = format!("sslmode=verify-full&sslrootcert={AUTHORITY}");
    for query in [trusted.as_str(), "sslmode=require"] {
        let store = connect(&url(query)).await.unwrap_or_else(|e| panic!("{query}: {e}"));
        store.disconnect().await;
    }
    let error = connect(&url("sslmode=verify-full")).await.expect_err("nobody vouches for it");
    assert!(matches!(&error, ConnectError::Tls { .. }), "{error}");
    // A server without TLS is refused; there is no fallback.
    let without = format!("{scheme}://{user}@{place}/{database}?sslmode=require");
    let error = connect(&without).await;
    // A server named by `TEST_DATABASE_URL` may support TLS.
    if std::env::var_os("TEST_DATABASE_URL").is_none() {
        assert!(matches!(error, Err(ConnectError::Tls { .. })), "{:?}", error.err());
    }
}

#[tokio::test]
async fn the_listener_listens_over_tls() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let user = User::register(server.url(), "ada").await;
    let port = relay(server.url().trim_start_matches("http://").parse().unwrap(), Before::Nothing);
    let url = format!("https://localhost:{}", port.await);
    let listen = || Doorstep::new(&["listen", "--url", &url]).env("DOORSTEP_TOKEN", &user.token);
    let mut listener = listen().env("SSL_CERT_FILE", AUTHORITY).spawn().await;
    listener.printed("  welcome  {\"username\":\"ada\"}  ", 1).await;
    let mut stranger = listen().spawn().await;
    stranger.logged("certificate", 1).await;
}
